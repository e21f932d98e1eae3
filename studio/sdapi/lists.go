package sdapi

import (
	"cmp"
	"encoding/json"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/internal/canvas"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/studio/library"
)

// lists are the routes that say what there is.
func (s *Server) lists() []route {
	refresh := func(*http.Request) (any, error) { return nil, s.options.Library.Refresh() }
	return []route{
		get(s, "/sdapi/v1/samplers", "The samplers.", s.samplers),
		get(s, "/sdapi/v1/schedulers", "The noise schedules.", s.schedulers),
		get(s, "/sdapi/v1/upscalers", "What enlarges pictures.", s.upscalers),
		get(s, "/sdapi/v1/latent-upscale-modes", "What enlarges latents.", s.latentModes),
		get(s, "/sdapi/v1/sd-models", "The checkpoints.", s.models),
		get(s, "/sdapi/v1/sd-vae", "The VAEs.", s.vaes),
		get(s, "/sdapi/v1/loras", "The LoRAs.", s.loras),
		get(s, "/sdapi/v1/embeddings", "The textual inversions.", s.embeddings),
		get(s, "/sdapi/v1/hypernetworks", "None: there are no hypernetworks here.", none),
		get(s, "/sdapi/v1/face-restorers", "None: there are no face restorers here.", none),
		get(s, "/sdapi/v1/realesrgan-models", "None: models of Real-ESRGAN are among the upscalers.", none),
		get(s, "/sdapi/v1/prompt-styles", "The styles.", s.promptStyles),
		get(s, "/sdapi/v1/scripts", "What alwayson_scripts and script_name may name.", s.scripts),
		get(s, "/sdapi/v1/script-info", "What it takes.", s.scriptInfo),
		get(s, "/sdapi/v1/extensions", "None: there are no extensions here.", none),
		get(s, "/sdapi/v1/memory", "What memory there is.", s.memory),
		command(s, "/sdapi/v1/refresh-checkpoints", "Looks again for files.", refresh),
		command(s, "/sdapi/v1/refresh-vae", "Looks again for files.", refresh),
		command(s, "/sdapi/v1/refresh-loras", "Looks again for files.", refresh),
		command(s, "/sdapi/v1/refresh-embeddings", "Looks again for files.", refresh),
	}
}

// none is the list of what there is nothing of.
func none(*http.Request) ([]struct{}, error) { return []struct{}{}, nil }

type samplerItem struct {
	Name    string            `json:"name"`
	Aliases []string          `json:"aliases"`
	Options map[string]string `json:"options"`
}

func (s *Server) samplers(*http.Request) (all []samplerItem, err error) {
	for _, name := range sampler.Names() {
		options := make(map[string]string)
		if spacing := name.Spacing(); spacing != sampler.Automatic {
			options["scheduler"] = schedulerName(spacing)
		}
		if name.SecondOrder() {
			options["second_order"] = "True"
		}
		if name.Shifted() {
			options["uses_ensd"] = "True"
		}
		all = append(all, samplerItem{string(name), append([]string{}, name.Aliases()...), options})
	}
	return all, nil
}

type schedulerItem struct {
	Name      string   `json:"name"`
	Label     string   `json:"label"`
	Aliases   []string `json:"aliases"`
	Rho       float64  `json:"default_rho"`
	NeedModel bool     `json:"need_inner_model"`
}

// schedulerName is a schedule's as programs send it.
func schedulerName(s sampler.Spacing) string {
	return strings.ReplaceAll(strings.ToLower(string(s)), " ", "_")
}

func (s *Server) schedulers(*http.Request) (all []schedulerItem, err error) {
	all = append(all, schedulerItem{Name: "automatic", Label: "Automatic", Rho: -1})
	for _, one := range sampler.Spacings() {
		item := schedulerItem{Name: schedulerName(one), Label: string(one), Rho: -1}
		switch one {
		case sampler.Karras:
			item.Rho = 7
		case sampler.Polyexponential:
			item.Rho = 1
		case sampler.SGMUniform:
			item.Aliases = []string{"SGMUniform"}
		}
		item.NeedModel = slices.Contains([]sampler.Spacing{sampler.Uniform, sampler.SGMUniform, sampler.Simple, sampler.Normal, sampler.DDIMUniform, sampler.Beta}, one)
		all = append(all, item)
	}
	return all, nil
}

type upscalerItem struct {
	Name  string  `json:"name"`
	Model *string `json:"model_name"`
	Path  *string `json:"model_path"`
	URL   *string `json:"model_url"`
	Scale float64 `json:"scale"`
}

func (s *Server) upscalers(*http.Request) (all []upscalerItem, err error) {
	for _, name := range builtIn(false) {
		all = append(all, upscalerItem{Name: name, Scale: 4})
	}
	for _, f := range s.options.Library.Upscalers() {
		all = append(all, upscalerItem{Name: f.Name, Model: &f.Name, Path: &f.Path, Scale: 4})
	}
	return all, nil
}

type nameItem struct {
	Name string `json:"name"`
}

func (s *Server) latentModes(*http.Request) (all []nameItem, err error) {
	for _, name := range canvas.Upscalers {
		all = append(all, nameItem{name})
	}
	return all, nil
}

type modelItem struct {
	Title  string  `json:"title"`
	Name   string  `json:"model_name"`
	Hash   *string `json:"hash"`
	SHA256 *string `json:"sha256"`
	File   string  `json:"filename"`
	Config *string `json:"config"`
}

func (s *Server) models(*http.Request) ([]modelItem, error) {
	all := []modelItem{}
	for _, c := range s.options.Library.Checkpoints() {
		item := modelItem{Title: c.Title, Name: c.Name, File: cmp.Or(c.Path, c.Name)}
		if c.SHA256 != "" {
			item.Hash, item.SHA256 = &c.Hash, &c.SHA256
		}
		all = append(all, item)
	}
	return all, nil
}

type vaeItem struct {
	Name string `json:"model_name"`
	File string `json:"filename"`
}

func (s *Server) vaes(*http.Request) ([]vaeItem, error) {
	all := []vaeItem{}
	for _, f := range s.options.Library.VAEs() {
		all = append(all, vaeItem{path.Base(f.Place), f.Path})
	}
	return all, nil
}

type loraItem struct {
	Name     string         `json:"name"`
	Alias    string         `json:"alias"`
	Path     string         `json:"path"`
	Metadata map[string]any `json:"metadata"`
}

func (s *Server) loras(*http.Request) ([]loraItem, error) {
	all := []loraItem{}
	for _, a := range s.options.Library.LoRAs() {
		item := loraItem{a.Name, a.Alias, a.Path, make(map[string]any)}
		// A file that cannot be read says nothing; what draws with it will tell what is wrong.
		metadata, _ := a.Metadata()
		for key, text := range metadata {
			if key == coverKey {
				continue
			}
			item.Metadata[key] = text
			if nested := map[string]any(nil); strings.HasPrefix(text, "{") && json.Unmarshal([]byte(text), &nested) == nil {
				item.Metadata[key] = nested
			}
		}
		all = append(all, item)
	}
	return all, nil
}

type embeddingItem struct {
	Step           *int    `json:"step"`
	Checkpoint     *string `json:"sd_checkpoint"`
	CheckpointName *string `json:"sd_checkpoint_name"`
	Shape          int     `json:"shape"`
	Vectors        int     `json:"vectors"`
}

type embeddingLists struct {
	Loaded  map[string]embeddingItem `json:"loaded"`
	Skipped map[string]embeddingItem `json:"skipped"`
}

func (s *Server) embeddings(*http.Request) (embeddingLists, error) {
	lists := embeddingLists{make(map[string]embeddingItem), make(map[string]embeddingItem)}
	for _, f := range s.options.Library.Embeddings() {
		vectors, width, err := sd.MeasureEmbedding(f.Path)
		if item := (embeddingItem{Shape: width, Vectors: vectors}); err != nil {
			lists.Skipped[f.Name] = item
		} else {
			lists.Loaded[f.Name] = item
		}
	}
	return lists, nil
}

type styleItem struct {
	Name     string `json:"name"`
	Prompt   string `json:"prompt"`
	Negative string `json:"negative_prompt"`
}

func (s *Server) promptStyles(*http.Request) ([]styleItem, error) {
	all := []styleItem{}
	for _, one := range s.options.Library.Styles() {
		all = append(all, styleItem(one))
	}
	return all, nil
}

type scriptLists struct {
	Txt2Img []string `json:"txt2img"`
	Img2Img []string `json:"img2img"`
}

func (s *Server) scripts(*http.Request) (lists scriptLists, err error) {
	for _, one := range scripts {
		lists.Img2Img = append(lists.Img2Img, one.name)
		if !one.img2img {
			lists.Txt2Img = append(lists.Txt2Img, one.name)
		}
	}
	lists.Txt2Img, lists.Img2Img = append(lists.Txt2Img, plotTitle), append(lists.Img2Img, plotTitle)
	return lists, nil
}

type scriptItem struct {
	Name     string      `json:"name"`
	AlwaysOn bool        `json:"is_alwayson"`
	Img2Img  bool        `json:"is_img2img"`
	Args     []scriptArg `json:"args"`
}

func (s *Server) scriptInfo(*http.Request) (all []scriptItem, err error) {
	for _, img2img := range []bool{false, true} {
		for _, one := range scripts {
			if img2img || !one.img2img {
				all = append(all, scriptItem{one.name, true, img2img, one.args})
			}
		}
		kind := library.Txt2Img
		if img2img {
			kind = library.Img2Img
		}
		all = append(all, scriptItem{plotTitle, false, img2img, plotArgs(kind)})
	}
	return all, nil
}

// options_ are the routes of settings and flags.
func (s *Server) options_() []route {
	return []route{
		get(s, "/sdapi/v1/options", "All settings.", s.settings),
		post(s, "/sdapi/v1/options", "Changes settings; those of names that are not known are kept.", true, s.set),
		get(s, "/sdapi/v1/cmd-flags", "The program's flags, by the web UI's names.", s.flags),
	}
}

func (s *Server) settings(*http.Request) (map[string]any, error) {
	all := s.options.Library.Settings().All()
	name, _ := all["sd_model_checkpoint"].(string)
	checkpoints := s.options.Library.Checkpoints()
	if c, err := s.options.Library.Checkpoint(name); name != "" && err == nil {
		all["sd_model_checkpoint"], all["sd_checkpoint_hash"] = c.Title, c.SHA256
	} else if len(checkpoints) > 0 {
		all["sd_model_checkpoint"], all["sd_checkpoint_hash"] = checkpoints[0].Title, checkpoints[0].SHA256
	}
	return all, nil
}

func (s *Server) set(r request[object]) (any, error) {
	values := make(map[string]any)
	for name, raw := range r.body {
		values[name] = plainJSON(raw)
	}
	if name, ok := values["sd_model_checkpoint"].(string); ok && name != "" {
		if _, err := s.options.Library.Checkpoint(name); err != nil {
			return nil, missing(err)
		}
	}
	if err := s.options.Library.Settings().Set(values); err != nil {
		return nil, unfit(err)
	}
	return nil, nil
}
