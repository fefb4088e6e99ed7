"""What is known of each portal, the same on every host: who may call with which token, its names, its data keys."""
