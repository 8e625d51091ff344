"""Random faults against the bridge over real connections, judged on the wire by an account of its own."""
