"""Virtual laboratory: a station that behaves like a COM600 gateway with a REF615 relay and a feeder behind it."""
