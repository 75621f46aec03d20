"""Files for operators, and the drills that try them."""
