"""Hold what the gate promised against what came true."""
