#!/bin/sh
# sh clever_pack.sh FOLDER DATA NETS MEGABYTES: puts images and networks into what `make clever-pack` gathered, as many of CIFAR-10's sheets
# as leave FOLDER.tar.gz below that size. MNIST's training images come along where its largest network is still to be trained.
set -eu
pack=$1 data=$2 nets=$3 most=$4
mkdir -p "$pack/nets" "$pack/data/mnist" "$pack/data/cifar10"
if test -n "$nets"; then cp "$nets"/*.pt "$nets"/*.onnx "$nets"/*.json "$pack/nets/"; fi
cp "$data"/mnist/t10k-* "$pack/data/mnist/"
if ! test -e "$pack/nets/mnist-cnn7.json"; then cp "$data"/mnist/train-* "$pack/data/mnist/"; fi
cp "$data"/cifar10/test_first1000.npz "$data"/cifar10/train_labels.u8 "$pack/data/cifar10/"
archive() { tar -czf "$pack.tar.gz" -C "$(dirname "$pack")" "$(basename "$pack")"; }
archive
left=$((most * 1000000 - $(wc -c < "$pack.tar.gz")))
for sheet in "$data"/cifar10/train_images_*.webp; do
  size=$(wc -c < "$sheet")
  if test "$left" -lt "$size"; then break; fi
  cp "$sheet" "$pack/data/cifar10/"
  left=$((left - size))
done
archive
