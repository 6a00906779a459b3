"""Networks of other libraries as landscapes: nothing here is loaded unless it is asked for."""
