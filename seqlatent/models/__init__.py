"""The models by name. Each holds its equations beside the code."""
