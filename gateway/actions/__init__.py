"""What can be done through the gateway: one function for each use case, for every door.

Each takes the desk and the caller and begins with `desk.authorise`; nothing else decides what a caller may do. REST and
GraphQL only translate. `gateway.actions.table` lists them.
"""
