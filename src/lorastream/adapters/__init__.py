"""Low-rank updates on the projections of any `nn.Module`; needs torch only.

```python
from lorastream.adapters import Target, attach

query_and_value = [Target("blocks.*.attn.qkv", part=part, parts=3) for part in (0, 2)]
adapters = attach(network, query_and_value)
adapters.grow(rank=10, generator=torch.Generator().manual_seed(0))  # a new update that learns; output unchanged
...                                                                  # train `adapters.parameters()` as you like
adapters.freeze()                                                    # it is now one of the past updates
adapters.merge()                                                     # the plain network again, updates in its weights
```
"""

from lorastream.adapters.adapted_linear import AdaptedLinear
from lorastream.adapters.attach import Adapters, Target, attach, layer_of
from lorastream.adapters.input_moments import InputMoments
from lorastream.adapters.low_rank import Adapter, ColumnScaling

__all__ = ["AdaptedLinear", "Adapter", "Adapters", "ColumnScaling", "InputMoments", "Target", "attach", "layer_of"]
