"""Print the schema: `python -m gateway.graphql > gateway/graphql/schema.graphql` publishes it."""

import sys

from gateway.graphql.schema import make_schema, print_schema

if __name__ == "__main__":
    sys.stdout.write(print_schema(make_schema()))
