"""Numbers measured from one wearer.

- ``phases``: the two-minute routine: rest, MVC, passive motion, from a table or from marks
- ``routine``: what a model saw in it, and what is known of the wearer meanwhile
- ``recorded``: the same from a recording and a bundle
- ``ridge``, ``prior``: how far to believe it, as other people's data say
- ``subject``: the map of one wearer: fit, apply, file
- ``last_layer``: the variant that turns the network's last layer instead

``sonomyo personalise`` writes bundles and lives in ``export``, which may import this package.
"""
