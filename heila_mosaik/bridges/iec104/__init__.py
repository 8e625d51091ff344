"""IEC 60870-5-104 client behind one interface."""
