"""The processes that serve: what each needs around it, and who looks after several."""
