"""Companies and devices that decide, each written once and hosted in a study or live."""
