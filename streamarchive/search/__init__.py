"""Documents, the query language and the two engines that answer it."""
