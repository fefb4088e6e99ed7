"""Moving what waits from one queue to another: `forebay move`."""
