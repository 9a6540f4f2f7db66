"""A model that may run single commands, each in a computer of its own: the narrowest way in.

pip install 'pyro-mcp[openai]'
OPENAI_API_KEY=... python examples/openai_responses_vm_run.py
"""

import os

from openai import OpenAI

from pyro_mcp.integrations.openai import Session, run

MODEL = os.environ.get("OPENAI_MODEL", "gpt-5.2")

with OpenAI() as client, Session(profile="vm-run") as session:
    result = run(
        client,
        session,
        model=MODEL,
        input="Which version of git does the environment debian:12 have?",
        max_steps=10,
        time_limit_seconds=300,
    )

print(result.output_text)
print(f"({result.stopped} after {result.steps} requests)")
