package kohya

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// TestForm: every option that changes a training is in the form once, those of kohya's GUI under its labels and in its order.
func TestForm(t *testing.T) {
	places, seen := make(map[place]string), make(map[string]bool)
	form := Form()
	for i, s := range form {
		for _, f := range s.Fields {
			row := rows[f.Name]
			if row == nil {
				row = argument(f.Name)
			}
			switch {
			case seen[f.Name]:
				t.Errorf("%s is in the form twice", f.Name)
			case (f.Label == "") != (i == len(form)-1):
				t.Errorf("%s, which kohya's form calls %q, is among %q", f.Name, f.Label, s.Title)
			case f.Label != "" && places[place{row.gui.section, row.gui.row, ""}] != "":
				t.Errorf("%s is where %s is", f.Name, places[place{row.gui.section, row.gui.row, ""}])
			}
			seen[f.Name], places[place{row.gui.section, row.gui.row, ""}] = true, f.Name
		}
	}
	for name, row := range rows {
		if want := row.kind.class < isIdle && !formless[name]; seen[name] != want {
			t.Errorf("%s is in the form: %v, want %v", name, seen[name], want)
		}
	}
	if first := form[0].Fields[0]; first.Name != "pretrained_model_name_or_path" || first.Control != Text {
		t.Errorf("the first field is %+v", first)
	}
}

// roundTrips are a training written as a file and read again: nothing of it may change.
func roundTrips(t *testing.T, o *Options) {
	t.Helper()
	want, _, err := o.Config()
	if err != nil {
		t.Fatal(err)
	}
	for i := range want.Dataset.Sets { // files say .txt for what is usual here
		if folder := &want.Dataset.Sets[i].Folder; folder.CaptionExtension == "" {
			folder.CaptionExtension = ".txt"
		}
	}
	for kind, write := range map[string]func(*bytes.Buffer) error{
		"TOML":                func(b *bytes.Buffer) error { return o.WriteTOML(b) },
		"the GUI's JSON":      func(b *bytes.Buffer) error { return o.WriteJSON(b, "") },
		"values of the form ": func(b *bytes.Buffer) error { return nil },
	} {
		var file bytes.Buffer
		if err := write(&file); err != nil {
			t.Fatal(err)
		}
		text, again := file.String(), &Options{Defaults: map[string]string{}}
		if text == "" {
			for name, value := range o.Values() {
				if err := again.Set(name, value); err != nil {
					t.Fatal(err)
				}
			}
			if o.Value("caption_extension") == "" {
				again.Set("caption_extension", ".txt")
			}
		} else if err := again.Read(&file, "file"); err != nil {
			t.Fatalf("%s: %v\n%s", kind, err, text)
		}
		have, _, err := again.Config()
		if err != nil {
			t.Fatalf("%s: %v\n%s", kind, err, text)
		}
		if a, b := have.Dataset.Sets[0].ValidationSeed, want.Dataset.Sets[0].ValidationSeed; a != nil && b != nil && *a == *b {
			have.Dataset.Sets[0].ValidationSeed = b // which is compared as a pointer
		}
		have.Metadata, want.Metadata = nil, nil // of what was given, and now more is
		same(t, have, want)
		if t.Failed() {
			t.Fatalf("%s:\n%s", kind, text)
		}
	}
}

// TestFormRoundTrip writes the recipe, and it with each option there is, in all ways in which trainings are kept.
func TestFormRoundTrip(t *testing.T) {
	folder := photos(t)
	for _, g := range append(slices.Clone(table), group{"", networkArguments}) {
		for _, row := range g.options {
			if row.kind.class >= isIdle || formless[row.name] && !strings.HasPrefix(row.name, "use_") || row.name == "dataset_config" || row.name == "train_data_dir" {
				continue
			}
			t.Run(row.name, func(t *testing.T) {
				o := new(Options)
				o.Set("train_data_dir", folder)
				value := strings.Join(sample(row), " ")
				switch {
				case strings.HasSuffix(row.name, "_lr_weight"):
					value = strings.TrimSuffix(strings.Repeat("0.5,", 12), ",")
					if row.name == "mid_lr_weight" {
						value = "0.5"
					}
				case strings.Contains(row.name, "block_dims") || strings.Contains(row.name, "block_alphas"):
					value = strings.TrimSuffix(strings.Repeat("4,", 25), ",")
				}
				if err := o.Set(row.name, value); err != nil {
					t.Fatal(err)
				}
				roundTrips(t, o)
			})
		}
	}
}

// TestFormZeros: what the GUI would drop reaches the training all the same.
func TestFormZeros(t *testing.T) {
	for _, set := range []string{"max_grad_norm=0", "text_encoder_lr=0", "unet_lr=0", "network_alpha=0", "prior_loss_weight=0", "lr_warmup_steps=10%", "lr_warmup_steps=0.05", "max_train_epochs=0"} {
		t.Run(set, func(t *testing.T) {
			o := new(Options)
			o.Set("train_data_dir", photos(t))
			name, value, _ := strings.Cut(set, "=")
			if err := o.Set(name, value); err != nil {
				t.Fatal(err)
			}
			want, _, err := o.Config()
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := o.WriteJSON(&b, "a lighthouse --w 512"); err != nil {
				t.Fatal(err)
			}
			again := new(Options)
			if err := again.Read(&b, "file"); err != nil {
				t.Fatal(err)
			}
			have, _, err := again.Config()
			if err != nil {
				t.Fatal(err)
			}
			if again.Prompts() != "a lighthouse --w 512" {
				t.Errorf("the prompts are %q", again.Prompts())
			}
			want.SamplePrompts, have.SamplePrompts = "", ""
			want.LRWarmupSteps = strings.Replace(want.LRWarmupSteps, "10%", "0.1", 1)
			want.Dataset.Sets[0].Folder.CaptionExtension = ".txt"
			if name == "text_encoder_lr" || name == "unet_lr" {
				want.Network.UNetOnly, want.Network.TextEncoderOnly = have.Network.UNetOnly, have.Network.TextEncoderOnly
			}
			same(t, have, want)
		})
	}
}

// TestSetRefuses names that are none.
func TestSetRefuses(t *testing.T) {
	if err := new(Options).Set("netwrok_dim", "4"); err == nil || !strings.Contains(err.Error(), "network_dim") {
		t.Errorf("%v", err)
	}
	o := new(Options)
	if err := o.Read(strings.NewReader(strings.Repeat("#", maxFileBytes+1)), "long.toml"); err == nil {
		t.Error("a file without end is read")
	}
}
