"""Makes drawn values of an information object fit each other, as its columns must."""

TIED = {
    "Measurements": ("elements", "quantities", "values", "sigmas", "qualities", "ages_s"),
    "VerificationNotification": (
        "baseline_p_mw", "measured_p_mw", "requested_p_mw", "baseline_q_mvar", "measured_q_mvar", "requested_q_mvar",
    ),
    "WeatherForecast": ("temperature_c", "irradiance_w_per_m2", "wind_m_per_s"),
    "PriceForecast": ("spot_eur_per_mwh", "flexibility_up_eur_per_mwh", "flexibility_down_eur_per_mwh"),
    "Need": ("locations", "effect_p", "effect_q"),
}  # fmt: skip


def fitted(cls, values):
    """The values with columns of equal length and a step that is one."""
    tied = TIED.get(cls.__name__, ())
    count = min((len(values[name]) for name in tied), default=0)
    values |= {name: values[name][:count] for name in tied}
    if cls.__name__ == "VerificationNotification" and not count:
        values |= dict.fromkeys(tied, (0.0,))
    if cls.__name__ == "OfferList":
        wanted = len(values["offers"])
        values["relief_per_eur"] = (values["relief_per_eur"] + (0.0,) * wanted)[:wanted]
    if cls.__name__ == "FlexibilityForecast":
        for name in ("price_up_eur_per_mwh", "price_down_eur_per_mwh"):
            values[name] = values[name] if len(values[name]) == len(values["profile"].p_mw) else ()
    if "step_s" in values:
        values["step_s"] = max(1, abs(values["step_s"]))
    return values
