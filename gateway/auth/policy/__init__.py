"""The policy as text: a schema that is the ontology, and what is permitted and forbidden."""
