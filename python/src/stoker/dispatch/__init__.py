"""Dispatch: one round from what is asked to what is true.

    requests = begin_round(store, nodes, RoundRequest(), now)      # plans, claims attempts, one transaction
    ...                                                            # the play asks the nodes
    summary = finish_round(store, results, now)                    # one transaction for each job that changed

`plan` and `place` decide what to do, `observations` what an answer proves, `states` what may follow what; all pure.
`round` reads and writes the store. Nothing here reaches a node.
"""

from stoker.dispatch.model import NodeInfo, NodeResult, RoundRequest, RoundSummary
from stoker.dispatch.round import begin_round, finish_round

__all__ = ["NodeInfo", "NodeResult", "RoundRequest", "RoundSummary", "begin_round", "finish_round"]
