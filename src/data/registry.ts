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
}
