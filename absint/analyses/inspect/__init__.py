"""What a network is made of, and how every operator will be treated.

`options`, `record` and `analysis` load no torch; `node_views` and `examination` look at networks.
"""
