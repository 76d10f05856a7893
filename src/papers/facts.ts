// What each of the 33 papers says, in our words, and where paper and official code are. Facts that are not known (author
// names, venues, a repository) are absent.

export interface PaperFacts {
  /** The idea in one to three sentences. */
  readonly idea: string
  /** What the paper claims for it. */
  readonly claim: string
  /** arXiv identifier. */
  readonly arxiv: string
  /** Official repository on GitHub, owner/name. */
  readonly code?: string
  /** What the repository lacks, where it is not the code of the paper. */
  readonly codeNote?: string
  /** Names in BibTeX's form. */
  readonly authors?: string
  readonly venue?: string
}

export const paperFacts: Readonly<Record<string, PaperFacts>> = {
  'decision-mamba': {
    idea: 'A return-conditioned policy for offline reinforcement learning that reads the history at two grains: one scan over all tokens, one over fused triples of return, state and action. Labels are softened with earlier predictions as training goes on, so that noisy actions are not learned by heart.',
    claim:
      'The best average of ten compared methods on nine D4RL locomotion data sets, 83.2 against 79.1 for the next.',
    arxiv: '2406.05427',
    code: 'aopolin-lv/DecisionMamba',
    authors: 'Lv and others',
    venue: 'NeurIPS 2024',
  },
  'mamba-pkd': {
    idea: 'Compresses an image classifier into a chain of small Mamba students. Each learns from the teacher what the earlier ones still get wrong, and inference may stop after any of them.',
    claim: 'Seven students together reach the teacher’s 98 % on MNIST at 63 % of its operations.',
    arxiv: '2503.01727',
    authors: 'J. Medina and A. Hadachi and P. Honeine and A. Bensrhair',
  },
  quamba: {
    idea: 'Runs a trained Mamba language model in 8 bits throughout, after calibration only. Rare outliers in the scan’s input are clipped, and its output is quantised behind a Hadamard transform that spreads the large values.',
    claim: '1.72 times faster decoding of a 2.8-billion-parameter model on an Orin Nano for 0.9 points of accuracy.',
    arxiv: '2410.13229',
    code: 'enyac-group/Quamba',
    venue: 'ICLR 2025',
  },
  'motion-mamba': {
    idea: 'Generates human motion from text by diffusion on a few latent tokens. The denoiser stacks two kinds of Mamba blocks: several parallel scans over time, most of them at the outer levels, and a two-way scan over the latent channels.',
    claim:
      'FID on HumanML3D falls from 0.473 to 0.281 against the latent-diffusion baseline, at up to four times its speed.',
    arxiv: '2403.07487',
    code: 'steve-zeyu-zhang/MotionMamba',
    codeNote: 'project page only',
    venue: 'ECCV 2024',
  },
  morpmamba: {
    idea: 'Classifies hyperspectral pixels with learned erosion and dilation filters as the tokeniser. One attention joins the spatial and the spectral tokens, and a small state-space layer sums them up.',
    claim:
      'Accuracy on a par with far larger convolutional and Transformer networks with about 67 thousand parameters.',
    arxiv: '2408.01372',
    code: 'mahmad000/MorpMamba',
    venue: 'Neurocomputing 2025',
  },
  'mamba-yolo': {
    idea: 'A YOLO detector whose convolution stages become four-direction selective scans, with a local branch before and a gated branch after each. It trains from scratch, without ImageNet.',
    claim: 'The tiny model reaches 44.5 AP on COCO, 7.5 above a comparable YOLO.',
    arxiv: '2406.05835',
    code: 'HZAI-ZJNU/Mamba-YOLO',
    venue: 'AAAI 2025',
  },
  mamba: {
    idea: 'Lets the step size and the input and output maps of a state-space model depend on the current token, so that the recurrence chooses what to keep. A fused scan makes this fast, and decoding needs a state of fixed size instead of a cache that grows.',
    claim:
      'Solves selective copying and induction heads far beyond the trained length, and matches Transformers of about twice its size in language modelling.',
    arxiv: '2312.00752',
    code: 'state-spaces/mamba',
    authors: 'Gu and Dao',
  },
  csfmamba: {
    idea: 'Joins a hyperspectral image with a LiDAR raster inside the recurrence: the state-space parameters of one sensor are computed from the sequence of the other.',
    claim: 'Better land-cover maps than fusion by Transformers on MUUFL and Houston 2018, with less training effort.',
    arxiv: '2509.00677',
    authors: 'Wang and Jiang and Xu',
    venue: 'IGARSS 2025',
  },
  'mamba-fscil': {
    idea: 'Adds a few classes at a time from five images each, without the old images. The backbone and a fixed classifier stay as they are; between them one extra selective-scan branch learns to be silent for old classes and to adapt to new ones.',
    claim:
      'Mean session accuracy of 68.1 on CIFAR-100, 69.8 on miniImageNet and 68.1 on CUB-200, above earlier methods.',
    arxiv: '2407.06136',
    code: 'xiaojieli0903/Mamba-FSCIL',
  },
  plainmamba: {
    idea: 'An image backbone of identical layers at one resolution. Each scans the image along four snake paths, on which neighbours in the sequence are neighbours in the image, and a learned vector tells the scan which way it is moving.',
    claim: '77.9 % on ImageNet with 7.3 million parameters, above earlier models without a pyramid.',
    arxiv: '2403.17695',
    code: 'ChenhongyiYang/PlainMamba',
    venue: 'BMVC 2024',
  },
  lbmamba: {
    idea: 'Inside the forward scan, every short window of tokens also runs backwards in registers, at no extra memory traffic. Layers alternate direction, so that a second global scan is not needed.',
    claim: '0.8 to 1.6 points more on ImageNet than Vim at the same throughput.',
    arxiv: '2506.15976',
    code: 'cvlab-stonybrook/LBMamba',
    venue: 'TMLR 2025',
  },
  drama: {
    idea: 'Learns Atari games inside its own world model, a Mamba-2 network that predicts the next latent frame, reward and end. The replay buffer is sampled so that imagination starts from states the model already knows.',
    claim: 'A competitive Atari 100k score with a world model of only 7 million parameters.',
    arxiv: '2410.08893',
    code: 'realwenlongwang/drama',
    venue: 'ICLR 2025',
  },
  'mixture-of-mamba': {
    idea: 'Gives every projection of a Mamba layer one copy for text, one for images and one for speech, chosen by the kind of the token. Convolution, recurrence and state stay shared, and so does the cost of a token.',
    claim: 'The dense model’s image loss for about 35 % of the training operations in the Transfusion setting.',
    arxiv: '2501.16295',
    code: 'Weixin-Liang/Mixture-of-Mamba',
    codeNote: 'mixers only',
    authors: 'Liang and Shen and Zhang and Dong and Zettlemoyer and Yu',
  },
  efficientvim: {
    idea: 'Moves the costly projections of a non-causal state-space layer from the many tokens to its few hidden states, and lets the classifier read the hidden states of every stage.',
    claim: '72.9 to 79.4 % on ImageNet within 0.24 to 1.1 billion multiply-adds, faster than other light backbones.',
    arxiv: '2411.15241',
    code: 'mlvlab/EfficientViM',
    venue: 'CVPR 2025',
  },
  mambaout: {
    idea: 'Takes the state-space model out of the Mamba block and keeps the gated convolution. The argument: memory pays where sequences are long or causal, and image classification is neither.',
    claim:
      'Beats visual Mamba models in ImageNet classification, but not the best of them in detection and segmentation.',
    arxiv: '2405.07992',
    code: 'yuweihao/MambaOut',
    venue: 'CVPR 2025',
  },
  'spatial-mamba': {
    idea: 'Scans an image once, in one direction, then mixes neighbouring hidden states on the grid by dilated convolutions before they are read out. Neighbourhood arises in state space, not from more scan paths.',
    claim: '83.5 to 85.3 % on ImageNet with one scan instead of four.',
    arxiv: '2410.15091',
    code: 'EdwardChasel/Spatial-Mamba',
    venue: 'ICLR 2025',
  },
  vssd: {
    idea: 'Makes Mamba-2’s duality non-causal: a token’s scalar no longer decays along a scan, it only weighs that token’s share of one global state. What is left are two small matrix products, without order or mask.',
    claim: '82.5 to 84.7 % on ImageNet at linear cost, without any scan.',
    arxiv: '2407.18559',
    code: 'YuHengsss/VSSD',
    venue: 'ICCV 2025',
  },
  'graph-mamba': {
    idea: 'Turns every node of a graph into a sequence of neighbourhoods, sampled by random walks from far to near, and reads it with a two-way Mamba. A second one runs over the nodes in order of degree.',
    claim: 'Accuracy at the level of graph Transformers in linear time, without needing positional encodings.',
    arxiv: '2402.08678',
    code: 'GraphMamba/GMN',
    codeNote: 'README only',
    authors: 'Behrouz and Hashemi',
    venue: 'KDD 2024',
  },
  efficientvmamba: {
    idea: 'Each of the four scans visits only every second pixel in each direction, so that together they cross the image once. Scans sit in the early stages, plain inverted residual blocks in the late ones.',
    claim: '78.7 % on ImageNet at 1.3 GFLOPs, 5.6 points above Vim-Ti at lower cost.',
    arxiv: '2403.09977',
    code: 'TerryPei/EfficientVMamba',
  },
  ssamba: {
    idea: 'An audio encoder of two-way Mamba blocks that learns from unlabelled sound: masked patches of the spectrogram have to be recognised among others and to be rebuilt.',
    claim:
      'At 22 thousand tokens 92.7 % faster and 95.4 % smaller in memory than its attention counterpart, and better in most tasks.',
    arxiv: '2405.11831',
    code: 'SiavashShams/ssamba',
    venue: 'IEEE SLT 2024',
  },
  mambaclinix: {
    idea: 'A 3-D U-Net for medical volumes: gated convolutions of growing order where the resolution is high, Mamba layers where the sequence is short. A Tversky loss weighs misses and false alarms region by region.',
    claim: 'Higher Dice scores than convolutional, Transformer and Mamba U-Nets on five data sets at low complexity.',
    arxiv: '2409.12533',
    code: 'CYB08/MambaClinix-PyTorch',
  },
  lyapunov: {
    idea: 'Proves that the recurrences of Mamba and Mamba-2 cannot amplify small perturbations, and shows what follows: fine-tuning with mixed precision and low-rank adapters stays close to full precision.',
    claim:
      'The maximal Lyapunov exponent is never positive, and mixed-precision fine-tuning drifts less than in Transformers of the same size.',
    arxiv: '2406.00209',
    venue: 'TMLR 2025',
  },
  mambamixer: {
    idea: 'Selects along both axes of the data: one mixer scans the tokens, another scans the channels in both directions. Every mixer reads a learned average of all earlier ones.',
    claim:
      '82.7 to 83.9 % on ImageNet for the vision model; the forecaster, without attention or MLPs, is best in 26 of 32 settings.',
    arxiv: '2403.19888',
    code: 'MambaMixer/M2',
    codeNote: 'README only',
  },
  'cvmh-unet': {
    idea: 'A U-shaped network for very fine aerial images. Its blocks scan in several crossing directions beside a local convolution branch, and skip connections are fused by attention on frequency descriptors.',
    claim: 'The best segmentation scores among the compared networks on Vaihingen and Potsdam at the cost of a U-Net.',
    arxiv: '2410.05624',
    venue: 'Remote Sensing 2025, 17(8), 1390',
  },
  hydra: {
    idea: 'A blueprint for a long-context language model in which a linear-time path always runs, and windowed attention, a mixture of experts and two memories join it at chosen depths, each behind one learned gate.',
    claim:
      'The prototype overtakes a Transformer of equal depth from about 2 thousand tokens on, at 3.2 times its rate for 16 thousand.',
    arxiv: '2508.15099',
    code: 'sidcraftscode/Hydra',
    codeNote: 'prototype',
    authors: 'S. Chaudhary and B. Browning',
  },
  'nemotron-elastic': {
    idea: 'One hybrid model that holds smaller ones inside it: weights are sorted by importance, and a small router learns which widths and layers every size keeps. The sizes are cut out afterwards without more training.',
    claim:
      'A 6B and a 9B model out of a 12B parent for 110 billion tokens, about 360 times fewer than training them from scratch.',
    arxiv: '2511.16664',
    code: 'NVIDIA/Megatron-LM',
    authors: '{NVIDIA}',
  },
  'token-dynamics': {
    idea: 'Follows tokens through many selective layers as a dynamical system: in one dimension they all vanish or all grow without bound, as one sign decides. Two remedies follow: rule out the vanishing case, and order tokens by learned importance.',
    claim: 'Both remedies lower perplexity on WikiText-103 or raise accuracy on ImageNet.',
    arxiv: '2410.03292',
    code: 'Fsoft-AIC/Mamba-token-dynamic',
    venue: 'ICLR 2025',
  },
  groupmamba: {
    idea: 'Splits the channels into four groups, each with its own small scan in one of the four directions, and mixes the groups by a channel gate: four directions at the price of one. Distillation steadies the larger models.',
    claim: '83.3 % on ImageNet with 23 million parameters, 26 % fewer than the best Mamba backbone of its class.',
    arxiv: '2407.13772',
    code: 'Amshaker/GroupMamba',
  },
  tim4rec: {
    idea: 'Predicts the next item of a user’s history with a Mamba-2 block that knows time: the gaps between interactions scale the step size of each head.',
    claim:
      'The best of the compared recommenders at width 64, repairing what plain state-space duality loses there while keeping its speed.',
    arxiv: '2409.16182',
    code: 'AlwaysFHao/TiM4Rec',
    venue: 'Neurocomputing 654 (2025), 131270',
  },
  rsmamba: {
    idea: 'Classifies aerial scenes with an ordinary causal Mamba that reads the patches three times with the same weights, forwards, backwards and shuffled; a learned gate weighs the three.',
    claim: 'F1 of 95.25 on UC Merced, 92.63 on AID and 95.18 on RESISC45, above baselines trained alike.',
    arxiv: '2403.19654',
    code: 'KyanChen/RSMamba',
    venue: 'IEEE GRSL 2024',
  },
  'apriel-h1': {
    idea: 'Turns a finished 15B attention model into a hybrid step by step: the least important attention layers give way to Mamba layers that start from their projections, and reverse-KL distillation on reasoning traces heals the model.',
    claim: 'With 30 of 50 layers replaced, 2.1 times the throughput for little loss in reasoning quality.',
    arxiv: '2511.02651',
    code: 'ServiceNow/Fast-LLM',
    authors: 'Ostapenko and others',
  },
  a2mamba: {
    idea: 'Computes two attention maps, one local and one dilated, and uses each twice: on the values, and again on the hidden states of the scan, which so gains a two-dimensional view at several scales.',
    claim: '78.7 to 86.1 % on ImageNet, above convolutional, Transformer and Mamba backbones of its size.',
    arxiv: '2507.16624',
    code: 'LMMMEng/A2Mamba',
  },
  quamba2: {
    idea: 'Quantises Mamba-1 and Mamba-2 to 8 or 4 bits from embedding to output head. For Mamba-2, channels of like magnitude are sorted and clustered beforehand, and each cluster gets a scale of its own.',
    claim:
      'An 8-billion-parameter model in a quarter of the memory, 3 times faster in generation, for 1.6 points of accuracy.',
    arxiv: '2503.22879',
    code: 'enyac-group/Quamba',
    venue: 'ICML 2025',
  },
}
