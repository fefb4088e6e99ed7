"""Where calls come from: which addresses may call at all, and who fails so often that little work is done for him."""
