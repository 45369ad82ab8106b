"""What can be fetched: the files of the named sets as published, with their sums, sizes and addresses.

Sums and sizes are those that TensorFlow Datasets checks (github.com/tensorflow/datasets, `tensorflow_datasets/
url_checksums`). KMNIST's authors have no https: the sum decides what is taken, there as anywhere.
"""

from likelier.fetching import Remote


def remote(name: str, size: int, sha256: str, *folders: str) -> Remote:
    """A file that has the same name in some folders of the network."""
    return Remote(name, sha256, size, tuple(folder + name for folder in folders))


MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"
FASHION = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
KMNIST = "http://codh.rois.ac.jp/kmnist/dataset/kmnist/"
EMNIST = "https://biometrics.nist.gov/cs_links/EMNIST/"
TORONTO = "https://www.cs.toronto.edu/~kriz/"

TRAIN_X, TRAIN_Y = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
TEST_X, TEST_Y = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"

REMOTES: dict[str, tuple[Remote, ...]] = {
    "mnist": (
        remote(TRAIN_X, 9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", *MNIST),
        remote(TRAIN_Y, 28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", *MNIST),
        remote(TEST_X, 1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", *MNIST),
        remote(TEST_Y, 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", *MNIST),
    ),
    "fashion-mnist": (
        remote(TRAIN_X, 26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", FASHION),
        remote(TRAIN_Y, 29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", FASHION),
        remote(TEST_X, 4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", FASHION),
        remote(TEST_Y, 5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", FASHION),
    ),
    "kmnist": (
        remote(TRAIN_X, 18_165_135, "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4", KMNIST),
        remote(TRAIN_Y, 29_497, "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17", KMNIST),
        remote(TEST_X, 3_041_136, "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5", KMNIST),
        remote(TEST_Y, 5_120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c", KMNIST),
    ),
    "emnist-letters": (  # all of EMNIST: its parts are not published one by one
        remote("gzip.zip", 561_753_746, "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e", EMNIST),
    ),
    "cifar10": (
        remote(
            "cifar-10-binary.tar.gz",
            170_052_171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            TORONTO,
        ),
    ),
}
