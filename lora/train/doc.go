// Package train makes an adapter of a folder of pictures: package dataset reads them, a lora.Network says what is trained, and a
// [Trainer] learns from one batch at a time on any device. kohya-ss/sd-scripts' option names mean here what they mean there; package
// kohya reads them.
package train
