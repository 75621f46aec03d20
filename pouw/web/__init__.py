"""HTTP: blueprints, schemas, problem documents and request hooks. The only rooms that know Flask are here and app."""
