"""The evaluation servers: they alone have the boxes of these test splits, except for the first of each sequence."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Server:
    """What a server takes: a zip with these files for each sequence.

    title: of the dataset. address: of the server. boxes: path of the boxes in the zip; {0} is the sequence's name.
    times: path of the seconds a frame; None if the server takes no times.
    """

    title: str
    address: str
    boxes: str
    times: str | None


# By dataset; the split is "test".
SERVERS = {
    # The toolkit's ExperimentGOT10k.report.
    "got10k": Server("GOT-10k", "http://got-10k.aitestunion.com", "{0}/{0}_001.txt", "{0}/{0}_time.txt"),
    # metrics.py of the development kit.
    "trackingnet": Server("TrackingNet", "http://eval.tracking-net.org", "{0}.txt", None),
}
