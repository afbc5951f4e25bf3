"""How runs look: pure functions from the run record to texts, pictures and documents. Needs graph and bus only."""
