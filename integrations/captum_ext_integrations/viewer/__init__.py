"""The page that shows runs (extra `view`): a server of this machine alone, and files that open from disk.

    captum-ext view outputs/ig outputs/lpi --images photos
    captum-ext view outputs/ig outputs/lpi --images photos --sort disagreement --export page

Runs are read as they are and never written to. The server needs no torch.
"""
