"""Kubernetes, asked: contexts of a kubeconfig, their credentials, one API server, and what its answers mean.

`kubeconfig` reads files, `credentials` who one is, `cluster` asks a server with a time limit and gives typed errors;
`resources` and `rollout` are pure and say what nodes have free and why pods are not ready.
"""
