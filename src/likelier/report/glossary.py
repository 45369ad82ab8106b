"""What the words on the page mean, in a sentence or two for someone who meets them for the first time."""

TERMS: dict[str, str] = {
    "claim": (
        "If the exact interval of the median over the training seeds lies beyond the bar: of five seeds, all have to "
        "agree. It does not hold if the interval lies on the other side. If the bar is within the interval, if there "
        "are fewer than five seeds, or if one of them lacks the figure, it cannot be said. Where two models are held "
        "against each other, the verdict above decides; a trade-off refuses the claim. Where a claim has two halves, "
        "both have to hold."
    ),
    "claims_many": (
        "A sentence that only chance would bear out has a probability of up to 5% to come out as holding, each time it "
        "is tested: of twenty such tests, expect one. The verdicts are corrected for the number of their pairs, and "
        "nothing else is, so read a single surprise among many tests with care."
    ),
    "images_a_second": (
        "Images seen in a second of training, without the looks. Runs that were trained at the same time on one "
        "machine had to share it."
    ),
    "win": (
        "All of this at once: a test over training seeds finds a difference in the Fréchet distance (p ≤ .05, "
        "corrected for the number of pairs); the gap is larger than the noise of the measure; the order holds in most "
        "extractors of features; the better model does not copy; and no other measure speaks against it. If recall, "
        "coverage or reconstruction does, it is a trade-off. If the better model copies, it is disqualified. With five "
        "to nine seeds a verdict is preliminary, with fewer there is none."
    ),
    "p": (
        "How often chance alone would set two equally good models at least this far apart (a permutation Mann–Whitney "
        "test; a diverged run is the worst). Whoever tests many pairs finds a small p by luck, so it is "
        "corrected: first a test of all models at once (Kruskal–Wallis) has to find that not all are equal, then p is "
        "multiplied by the number of pairs that can still be equal, which are those of all models but one (Shaffer)."
    ),
    "noise": (
        "How far the Fréchet distance of one and the same model moves when only its samples and the real images beside "
        "them are drawn again: 95% of the time within this width. The table gives half of it, with ±. A smaller gap "
        "means nothing."
    ),
    "frechet_distance": (
        "How far the samples are from real images as a whole: both sets are turned into features by a fixed "
        "classifier, a bell curve is fitted to each, and this is the distance between the two curves. It "
        "shrinks with better samples, but hardly below the floor, which is what two sets of real images have."
    ),
    "frechet_distance_infinity": (
        "The Fréchet distance that endless samples would have: few samples make it too large, so it is taken for "
        "several numbers of them, and the line through those is followed to where their number is infinite. A perfect "
        "model has about 0, and chance or copies of training images can bring it below."
    ),
    "kernel_distance": (
        "The same question as the Fréchet distance, without assuming bell curves: how easily a smooth function "
        "of the features could tell samples from real images. Without bias, so for a perfect model it scatters "
        "around 0."
    ),
    "precision": (
        "The share of samples that lie close to some real image: fidelity. Read it with recall only: a model "
        "that repeats one good image, or blurs, has high precision."
    ),
    "recall": (
        "The share of real images that lie close to some sample: variety. Low recall means that kinds are missing."
    ),
    "density": (
        "Precision that counts how many real neighbourhoods a sample falls into, so that one outlier weighs "
        "less. It can exceed 1, and blur raises it: read it with coverage."
    ),
    "coverage": (
        "The share of real images that have at least one sample in their neighbourhood: recall that resists outliers."
    ),
    "class_histogram_kl": (
        "How far the classes of the samples, as a classifier sees them, are from the classes of the data. 0 is "
        "the same mixture. KL (the Kullback–Leibler divergence) measures how much one distribution differs from"
        " another."
    ),
    "missing_classes": ("How many classes of the data never occur among the samples, as a classifier sees them."),
    "modes": (
        "How many of the 1,000 combinations of three digits, one a channel, the samples have, as a classifier sees "
        "them. Fewer than real images have means that the model has dropped some."
    ),
    "modes_kl": (
        "How unevenly the samples are spread over the 1,000 combinations of digits: the KL divergence of their "
        "frequencies from those of the training images. So few samples have more than 0 even if the model is perfect: "
        "hold it against what real images score."
    ),
    "copied_share": (
        "The share of samples that are nearer to a training image than 99% of held-out images are, in feature space. "
        "Honest images have about 1%. A model with more than is allowed has learned its training images by heart: it "
        "wins no verdict, whatever its distance. Having fewer is no merit."
    ),
    "authenticity": (
        "The share of samples that lie further from their nearest training image than that image lies from its own "
        "nearest neighbour. Copies have 0, but blur scores high, so there is no best: hold it against what held-out "
        "images score. Far below that is suspicious."
    ),
    "data_copying_ct": (
        "A test score (C_T): whether samples lie nearer to training images than held-out images do, region by region. "
        "Around 0 they lie as near; far below 0 they lie nearer, which is copying or samples that are too smooth; far "
        "above 0 they lie further off, which is a model that does not fit."
    ),
    "reconstruction_mse": (
        "Mean squared difference between a test image and what comes back after encoding and decoding it. Only "
        "a model with an encoder has one."
    ),
    "reconstruction_psnr": (
        "Peak signal-to-noise ratio: the reconstruction error on a logarithmic scale, in decibels. 10 dB more is a "
        "tenth of the squared error."
    ),
    "reconstruction_ssim": (
        "Structural similarity of a test image and its reconstruction: brightness, contrast and pattern compared in "
        "small windows. 1 is the same image. It forgives a shade that is off everywhere, and punishes blur."
    ),
    "linear_probe": (
        "Accuracy of a linear classifier that sees nothing but the codes. High means that the classes can be "
        "read off the latent space with straight lines."
    ),
    "knn_accuracy": (
        "How often the class of a test image is the most frequent one among the five training images with the nearest "
        "codes. High means that neighbours in the latent space are of one kind, however the classes are shaped."
    ),
    "silhouette": (
        "How tight and separate the classes lie in the codes: near 1 far apart, near 0 touching, below 0 mixed up."
    ),
    "silhouette_pca": (
        "The silhouette in the plane of the two main directions (PCA) of the codes: the picture further down."
    ),
    "nmi": (
        "Normalised mutual information: the codes are sorted into as many clusters as there are classes, without "
        "looking at the classes, and this says how far the clusters are the classes. 0 is not at all, 1 is exactly."
    ),
    "nmi_pca": (
        "The mutual information with clusters in the plane of the two main directions (PCA) of the codes: the picture "
        "further down."
    ),
    "mmd_to_prior": (
        "How far the codes of real images, taken together, are from the prior that samples are drawn from (the maximum "
        "mean discrepancy, squared). About 0, by chance below: they are spread alike. Where it is large, samples are "
        "made from places that no image has."
    ),
    "active_units": (
        "How many code dimensions depend on the image at all. Few active units among many are the mark of "
        "posterior collapse."
    ),
    "elbo": (
        "The evidence lower bound: at most the log-probability that the model gives to a held-out image, in "
        "nats. It is reconstruction minus KL, and what a VAE is trained to raise. It compares models of one "
        "observation model only."
    ),
    "kl": (
        "The Kullback–Leibler divergence: how much one distribution differs from another; 0 if they are the "
        "same. In a VAE, how much the code of an image tells about it beyond the prior, in nats."
    ),
    "latent_space": (
        "The space of codes: the few numbers from which a decoder or generator makes an image. Neighbours there"
        " should be images that look alike."
    ),
    "posterior_collapse": (
        "A VAE whose encoder gives (nearly) the same codes to every image, in some or all dimensions: the "
        "decoder ignores them, the KL is near 0, and nothing can be read from them."
    ),
    "pca": (
        "Principal component analysis: the flat view of the codes that keeps most of their variance; the axes "
        "say how much. What lies apart there is apart; what overlaps there may still be apart in other "
        "directions."
    ),
    "nearness": (
        "In features, two images are near if the classifier that the measures are taken with sees the same things in "
        "them. In pixels, they are near if they are alike dot by dot: a shift by one pixel is far, and a pale blur is "
        "near to many. A copy is near in both."
    ),
    "traversal": (
        "A model that encodes starts from the code of a test image, and its directions are the units (the numbers of a "
        "code) that vary most from one image to the next; a unit whose variance is near 0 says nothing. One that does "
        "not encode starts from a random draw, and its directions are those that move the output of its generator's "
        "first layer most, with the share of all movement that they have (SeFa, Shen and Zhou 2021). A model that is "
        "told of classes stays in one class. A direction need not stand for one thing: nothing made it so."
    ),
    "manifold": (
        "A curved surface in the space of all images, on which the model's images lie: with two numbers to a code it "
        "is a sheet, and can be laid out flat. Points are spaced so that between any two neighbours the prior, from "
        "which samples are drawn, has the same probability (Kingma and Welling 2014, figure 4)."
    ),
    "slerp": (
        "Random codes of many dimensions all have about the same length, like points on a sphere. The straight line "
        "between two cuts through the inside, where the model has hardly been; spherical interpolation (slerp, White "
        "2016) stays at that length. With few dimensions the difference is small."
    ),
    "label_agreement": (
        "The share of images that a classifier takes for the class that they should have. The classifier errs, too: "
        "the figure of real test images, beside it, is about the most that can be reached. It says nothing of "
        "variety: a model that makes one good image a class agrees perfectly."
    ),
    "plane": (
        "Every place on a map is a code, and the model makes an image of every code. What is shown is the nearest of "
        "the images that were made when the model was measured, never a blend of two. A space of many dimensions has "
        "endless planes, and a map is one of them: a point is where the code of a test image falls onto it. The code "
        "itself may lie far off in the other dimensions, so the image there need not look like it."
    ),
    "places": (
        "u goes to the right and v upwards, both in standard deviations of the prior, the bell curve that samples are "
        "drawn from. The dashed rings are 1, 2 and 3 of them from its middle. The same place on two maps is as far "
        "from the middle for both models, and nothing else: each has a latent space of its own."
    ),
    "first_layer": (
        "Then no test image has a code that a plane could be laid through. Taken are the two directions that the "
        "generator's first layer passes on most strongly (Shen and Zhou 2021, SeFa). The plane goes through the code "
        "of one sample: 0, the middle of all codes, is a place that samples of many dimensions never come from."
    ),
    "player": (
        "A network, or a part of one, with a loss of its own. A VAE is one player; in a GAN the discriminator "
        "and the generator play against each other, so neither loss need fall when the samples improve."
    ),
    "shared_noise": (
        "All families decode the same random codes, so a column shows what each makes of one and the same draw."
        " That the pictures differ is normal: each family has its own latent space."
    ),
    "rising_fraction": (
        "The share of training in which a loss, smoothed by a running median, climbs by more than its noise explains. "
        "0 is a loss that falls or stays, as that of a single player should. In a game one player's progress is the "
        "other's loss, so a share near one half is two players chasing each other."
    ),
    "spikes": (
        "How many points of the log stand out of the loss around them by more than six standard deviations of the "
        "local noise. Noise alone has next to none."
    ),
    "grad_norm_median": (
        "The length of a player's gradient: how strongly its loss asks it to move. Only the same player of another "
        "seed has the same scale. Without the first tenth of training."
    ),
    "grad_norm_peak": (
        "The largest gradient as a multiple of the usual one. Far above 1, single batches jolt the player. Without "
        "the first tenth of training."
    ),
    "d_pairwise": (
        "How often the discriminator rates a held-out image above a sample, over all pairs. At 0.5 it cannot tell "
        "them apart; at 1 it has won, and the generator learns little from it."
    ),
    "d_gap": (
        "How much more often than half of the time the discriminator rates a training image above one that it has "
        "not seen. 0 is no memory; far above 0 it knows the training images by heart, and judges them by that."
    ),
    "fd_mean": (
        "The Fréchet distance over the last evaluations during training, with its standard deviation. Evaluations lie "
        "further apart the longer the training, so the deviation holds what was still gained as well as what swayed."
    ),
    "fd_best_minus_last_relative": (
        "How far below the last Fréchet distance the best one of the training lay, as a share of the last. 0 is a "
        "training that ended at its best; a large share is one that was better before."
    ),
    "seconds": ("Time spent in training alone, without evaluation and measurement. It depends on the machine."),
    "images": ("Training images shown, repeats included: the budget that all families share."),
    "parameters": ("Numbers that training adjusts, in all networks of the family together."),
    "finished": (
        "A run that diverged is counted here and not dropped: a method that fails one time in three is that method."
    ),
}
