"""All SQL, and nothing but SQL: the pool, and one module for each group of tables."""
