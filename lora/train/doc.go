// Package train makes an adapter of a folder of pictures. [Run] does it from a [Config] to the finished file and tells of each
// [Event]; errors and warnings name fields of the Config. Package dataset reads the pictures, a lora.Network says what is trained,
// and a [Trainer] learns from one [Batch] at a time on any device. The option names of kohya-ss/sd-scripts mean here what they mean
// there; package kohya reads them and knows which field each fills.
package train
