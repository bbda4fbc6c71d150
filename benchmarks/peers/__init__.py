"""Other servers, installed from their registries and run beside ours: the same clients, person and token formats."""
