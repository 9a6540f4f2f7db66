"""What pyro answers: one frozen dataclass per response shape; `to_dict` gives the JSON object.

Field names and types are those of the public contract; fields marked *extra* come on top of it.
"""
