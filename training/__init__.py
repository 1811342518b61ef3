"""Training set to teacher, to students, to the cheapest compressed model that passes."""
