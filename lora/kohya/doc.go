// Package kohya reads the settings that users of kohya's trainer bring: the command line of sd-scripts' train_network.py,
// its config_file, and what the bmaltais GUI saves, its JSON and the TOML it makes of that.
//
// All of them are the same options. One table says of each what it is called, what it means, what it is if nobody names it,
// and where it goes in a [train.Config]. Options that have no place here are refused with the reason if they would
// change the result, and otherwise accepted and noted. Unknown names are errors that say which known one is near.
//
// The command line comes before a file, and what neither names has the defaults of sd-scripts if there is a file, so that
// it trains here what it trains there, and else those of [Recipe].
package kohya
