"""The operations as tools of an assistant: a server of the Model Context Protocol, over stdio or HTTP."""
