"""A model that works in one workspace until the job is done, watched as it goes.

pip install 'pyro-mcp[openai]'
OPENAI_API_KEY=... python examples/openai_responses_workspace_core.py
"""

import os

from openai import OpenAI

from pyro_mcp.integrations.openai import ResponsesTools, RunResult, Session, ToolAnswered, stream

MODEL = os.environ.get("OPENAI_MODEL", "gpt-5.2")
TASK = "Write primes.py, which prints the primes below 50, and run it with python3."

# The session makes the workspace, and deletes it at the end. The model is confined to it, and has
# pyro's tools for it as well as the API's own shell and apply_patch.
with (
    OpenAI() as client,
    Session(profile="workspace-core", workspace={"environment": "debian:12"}) as session,
):
    tools = ResponsesTools(session, shell=True, apply_patch=True)
    for event in stream(client, tools, model=MODEL, input=TASK, instructions="Be brief."):
        if isinstance(event, ToolAnswered):
            print(f"[{event.call.get('name') or event.call['type']}]")
        elif isinstance(event, RunResult):
            print(f"\n({event.stopped} after {event.steps} requests)")
        elif event.type == "response.output_text.delta":
            print(event.delta, end="", flush=True)

    changed = session.pyro.diff_workspace(session.workspace_id)["entries"]
    print("changed:", ", ".join(one["path"] for one in changed))
