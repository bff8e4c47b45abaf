"use strict";
// The page of a map: cells or flows, coloured by a measure. It reads what Python packed into the page,
// and asks nobody for anything, except for tiles where the map's author named a server.

(async () => {
  const spec = JSON.parse(document.getElementById("spec").textContent);
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;
  const DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
  const LARGEST = 20;
  const TOPS = [100, spec.flows_drawn, 1000, 5000];
  const flows = spec.kind === "flows";
  const counted = (count) => `${whole.format(count)} ${flows ? "flow" : "cell"}${count === 1 ? "" : "s"}`;

  // ---- what the reader chose ----

  const state = {
    grid: Math.max(0, spec.grids.findIndex((grid) => grid.opens)),
    measure: 0,
    hour: null, // null: all together
    place: 0,
    top: spec.flows_drawn,
    chosen: null, // index of a feature that was clicked or taken from the table
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
  };
  root.dataset.theme = state.dark ? "dark" : "light";

  function text(id, value) {
    $(id).textContent = value;
  }

  function fail(message) {
    text("message", message);
    $("message").hidden = false;
    root.dataset.state = "failed";
  }

  // ---- what Python packed ----

  async function unpacked(id) {
    const packed = atob($(id).textContent);
    const bytes = new Uint8Array(packed.length);
    for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  }

  const TYPES = {
    u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, u8: BigUint64Array,
    i4: Int32Array, f4: Float32Array, f8: Float64Array,
  };
  let numbers = new ArrayBuffer(0);
  const array = ({ type, offset, length }) => new TYPES[type](numbers, offset, length);

  // ---- numbers for people ----

  const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  const precise = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

  function readable(value, unit) {
    if (Number.isNaN(value)) return "none";
    const written = Number.isInteger(value) || Math.abs(value) >= 1000 ? whole.format(value) : precise.format(value);
    return (unit ? `${written} ${unit}` : written).replace("-", "−");
  }

  function hourName(hour) {
    const clock = (h) => `${String(h).padStart(2, "0")}:00`;
    return `${DAYS[Math.floor(hour / 24)]}, ${clock(hour % 24)}–${clock((hour % 24) + 1)}`;
  }

  const when = () => (state.hour === null ? "all hours" : hourName(state.hour));

  // ---- the features of a resolution, and their values ----

  class Grid {
    constructor(packed) {
      this.packed = packed;
      this.length = packed.shown;
      this.ids = array(packed.cells);
      this.centres = array(packed.centres);
      if (flows) {
        this.origins = array(packed.origins);
        this.destinations = array(packed.destinations);
      }
      this.totals = packed.totals.map(array);
      if (packed.hourly) {
        this.starts = array(packed.hourly.starts);
        this.features = array(packed.hourly.features);
        this.hourly = packed.hourly.values.map(array);
      }
    }

    id(cell) {
      return this.ids[cell].toString(16);
    }

    centre(cell) {
      return [this.centres[2 * cell], this.centres[2 * cell + 1]];
    }

    name(feature) {
      return flows ? `${this.id(this.origins[feature])} → ${this.id(this.destinations[feature])}` : this.id(feature);
    }

    /** The value of every feature: NaN where there is none. */
    values(measure, hour) {
      if (hour === null) return this.totals[measure];
      const values = new Float64Array(this.length).fill(NaN);
      const hourly = this.hourly[measure];
      for (let row = this.starts[hour]; row < this.starts[hour + 1]; row++) values[this.features[row]] = hourly[row];
      return values;
    }

    fullestHour() {
      let fullest = 0;
      const rows = (hour) => this.starts[hour + 1] - this.starts[hour];
      for (let hour = 1; hour < 168; hour++) if (rows(hour) > rows(fullest)) fullest = hour;
      return fullest;
    }

    value(feature, measure, hour) {
      if (hour === null) return this.totals[measure][feature];
      for (let row = this.starts[hour]; row < this.starts[hour + 1]; row++) {
        if (this.features[row] === feature) return this.hourly[measure][row];
      }
      return NaN;
    }

    classes(measure, hour) {
      return this.packed.classes[measure][hour === null ? "all" : "hour"];
    }
  }

  const grids = [];
  const grid = () => grids[state.grid];
  const measure = () => spec.measures[state.measure];
  const classes = () => grid().classes(state.measure, state.hour);

  function classOf(limits, value) {
    let index = 0;
    while (index < limits.length && value >= limits[index]) index++;
    return index;
  }

  const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const colours = () => classes().colours[state.dark ? "dark" : "light"];

  // ---- what is drawn ----

  let map = null;
  let shown = []; // flows: the features that are drawn, smallest first
  let values = [];
  let far = false; // whether cells are too small to be seen as such

  function tileLayer() {
    if (!spec.tiles) return null;
    return new deck.TileLayer({
      id: "tiles",
      data: spec.tiles.url,
      minZoom: 0,
      maxZoom: 19,
      tileSize: 256,
      opacity: 0.6,
      renderSubLayers: (props) => {
        const [[west, south], [east, north]] = props.tile.boundingBox;
        return new deck.BitmapLayer(props, { data: null, image: props.data, bounds: [west, south, east, north] });
      },
    });
  }

  function cssColour(name) {
    return rgb(getComputedStyle(root).getPropertyValue(name).trim());
  }

  function cellLayers() {
    const limits = classes().limits;
    const palette = colours().map(rgb);
    const current = values;
    const features = grid();
    const alpha = spec.tiles ? 190 : 255;
    const paint = (index, target) => {
      const value = current[index];
      const colour = Number.isNaN(value) ? [0, 0, 0] : palette[classOf(limits, value)];
      target[0] = colour[0];
      target[1] = colour[1];
      target[2] = colour[2];
      target[3] = Number.isNaN(value) ? 0 : alpha;
      return target;
    };
    const triggers = { getFillColor: [state.measure, state.hour, state.dark] };
    // from far away a cell is less than a pixel: then it is a dot
    if (far) {
      return [
        new deck.ScatterplotLayer({
          id: `dots-${state.grid}`,
          data: { length: features.length },
          getPosition: (_, { index }) => features.centre(index),
          getFillColor: (_, { index, target }) => paint(index, target),
          updateTriggers: triggers,
          radiusUnits: "pixels",
          getRadius: 2.5,
          pickable: true,
          autoHighlight: true,
          highlightColor: state.dark ? [255, 255, 255, 255] : [0, 0, 0, 255],
        }),
      ];
    }
    return [
      new deck.H3HexagonLayer({
        id: `cells-${state.grid}`,
        data: features,
        getHexagon: (_, { index }) => features.id(index),
        getFillColor: (_, { index, target }) => paint(index, target),
        updateTriggers: triggers,
        extruded: false,
        stroked: false,
        coverage: 0.94,
        pickable: true,
        autoHighlight: true,
        highlightColor: state.dark ? [255, 255, 255, 110] : [0, 0, 0, 90],
      }),
    ];
  }

  function flowLayers() {
    const limits = classes().limits;
    const palette = colours().map(rgb);
    const current = values;
    const features = grid();
    const size = (feature) => classOf(limits, current[feature]);
    const colour = (feature, alpha) => [...palette[size(feature)], alpha];
    const moving = shown.filter((feature) => features.origins[feature] !== features.destinations[feature]);
    const staying = shown.filter((feature) => features.origins[feature] === features.destinations[feature]);
    const ends = [...new Set(shown.flatMap((feature) => [features.origins[feature], features.destinations[feature]]))];
    const quiet = cssColour("--quiet");
    const triggers = [state.measure, state.hour, state.dark, state.top];
    return [
      new deck.H3HexagonLayer({
        id: `ends-${state.grid}`,
        data: ends,
        getHexagon: (cell) => features.id(cell),
        getFillColor: [...quiet, 45],
        extruded: false,
        coverage: 0.94,
        updateTriggers: { getFillColor: state.dark },
      }),
      new deck.ArcLayer({
        id: `flows-${state.grid}`,
        data: moving,
        getSourcePosition: (feature) => features.centre(features.origins[feature]),
        getTargetPosition: (feature) => features.centre(features.destinations[feature]),
        getSourceColor: (feature) => colour(feature, 50),
        getTargetColor: (feature) => colour(feature, 220),
        getWidth: (feature) => 1 + 0.7 * size(feature),
        widthUnits: "pixels",
        getHeight: 0.35,
        getTilt: 90,
        wrapLongitude: true,
        pickable: true,
        autoHighlight: true,
        highlightColor: state.dark ? [255, 255, 255, 255] : [0, 0, 0, 255],
        updateTriggers: { getSourceColor: triggers, getTargetColor: triggers, getWidth: triggers },
      }),
      new deck.ScatterplotLayer({
        id: `staying-${state.grid}`,
        data: staying,
        getPosition: (feature) => features.centre(features.origins[feature]),
        getRadius: (feature) => 5 + 2 * size(feature),
        radiusUnits: "pixels",
        stroked: true,
        filled: true,
        getFillColor: (feature) => colour(feature, 90),
        getLineColor: (feature) => colour(feature, 255),
        lineWidthUnits: "pixels",
        getLineWidth: 2,
        pickable: true,
        updateTriggers: { getRadius: triggers, getFillColor: triggers, getLineColor: triggers },
      }),
    ];
  }

  function chosenLayer() {
    if (state.chosen === null) return null;
    const features = grid();
    const cells = flows ? [features.origins[state.chosen], features.destinations[state.chosen]] : [state.chosen];
    return new deck.H3HexagonLayer({
      id: "chosen",
      data: cells,
      getHexagon: (cell) => features.id(cell),
      highPrecision: true,
      extruded: false,
      filled: false,
      stroked: true,
      getLineColor: state.dark ? [255, 255, 255] : [0, 0, 0],
      lineWidthUnits: "pixels",
      getLineWidth: 3,
      lineWidthMinPixels: 3,
    });
  }

  const metresPerPixel = () => (40075016.7 * Math.cos((view.latitude * Math.PI) / 180)) / (512 * 2 ** view.zoom);

  function draw() {
    if (!map) return;
    far = grid().packed.metres / metresPerPixel() < 4;
    map.setProps({ layers: [tileLayer(), ...(flows ? flowLayers() : cellLayers()), chosenLayer()].filter(Boolean) });
  }

  /** After another measure, resolution, hour or theme was chosen. */
  function show() {
    values = grid().values(state.measure, state.hour);
    if (flows) {
      const known = [];
      for (let feature = 0; feature < values.length; feature++) if (!Number.isNaN(values[feature])) known.push(feature);
      known.sort((a, b) => Math.abs(values[a]) - Math.abs(values[b]));
      shown = known.slice(-state.top);
    }
    draw();
    legend();
    status();
    table();
    if (state.chosen !== null) describe(state.chosen);
  }

  // ---- the panel ----

  function legend() {
    const { label, unit } = measure();
    text("legend-title", `${label}${unit ? `, ${unit}` : ""}`);
    const counts = new Array(classes().labels.length).fill(0);
    for (const value of values) if (!Number.isNaN(value)) counts[classOf(classes().limits, value)]++;
    const items = classes().labels.map((words, index) => {
      const item = document.createElement("li");
      const swatch = document.createElement("i");
      swatch.style.background = colours()[index];
      const count = document.createElement("span");
      count.className = "count";
      count.textContent = counted(counts[index]);
      item.append(swatch, words, count);
      return item;
    });
    $("classes").replaceChildren(...items);
    const span = spec.hours ? (state.hour === null ? " One scale for all hours together." : " One scale for every hour.") : "";
    const direction = flows ? " A line is faint where it begins and strong where it ends; a circle stays in its cell." : "";
    text("method", `Classes: ${classes().method}.${span}${direction}`);
  }

  function status() {
    let count = 0;
    let sum = 0;
    for (const value of values) {
      if (Number.isNaN(value)) continue;
      count++;
      sum += value;
    }
    const { label, unit, combine } = measure();
    const total = combine === "sum" ? `; ${label.toLowerCase()}: ${readable(sum, unit)} in total` : "";
    const { found } = grid().packed;
    const left = found > grid().length ? ` The result has ${counted(found)}; here are the largest.` : "";
    const drawn = flows && shown.length < count ? ` The largest ${whole.format(shown.length)} of them are drawn.` : "";
    text("status", `${counted(count)}${spec.hours ? ` in ${when()}` : ""}${total}.${left}${drawn}`);
    text("hour-name", state.hour === null ? "" : hourName(state.hour));
    $("hour").setAttribute("aria-valuetext", hourName(Number($("hour").value)));
  }

  function cell(tag, content) {
    const made = document.createElement(tag);
    made.append(content);
    return made;
  }

  function table() {
    if (!$("largest").open || !grids.length) return;
    const known = [];
    for (let feature = 0; feature < values.length; feature++) if (!Number.isNaN(values[feature])) known.push(feature);
    known.sort((a, b) => values[b] - values[a]);
    $("columns").replaceChildren(cell("th", flows ? "Flow" : "Cell"), cell("th", measure().label));
    const rows = known.slice(0, LARGEST).map((feature) => {
      const row = document.createElement("tr");
      const button = cell("button", grid().name(feature));
      button.type = "button";
      button.addEventListener("click", () => choose(feature, true));
      row.append(cell("td", button), cell("td", readable(values[feature], measure().unit)));
      return row;
    });
    $("rows").replaceChildren(...rows);
  }

  // ---- the tooltip ----

  function describe(feature, x, y) {
    const tooltip = $("tooltip");
    const list = document.createElement("dl");
    spec.measures.forEach(({ label, unit }, index) => {
      const number = cell("dd", readable(grid().value(feature, index, state.hour), unit));
      if (index === state.measure) number.className = "shown";
      list.append(cell("dt", label), number);
    });
    const name = flows
      ? [cell("div", cell("code", `from ${grid().id(grid().origins[feature])}`)), cell("div", cell("code", `to ${grid().id(grid().destinations[feature])}`))]
      : [cell("code", grid().id(feature))];
    tooltip.replaceChildren(...name, ...(spec.hours ? [cell("div", when())] : []), list);
    tooltip.hidden = false;
    const at = x === undefined ? place(feature) : [x, y];
    const { width, height } = $("map").getBoundingClientRect();
    const box = tooltip.getBoundingClientRect();
    tooltip.style.left = `${Math.max(4, Math.min(at[0] + 14, width - box.width - 4))}px`;
    tooltip.style.top = `${Math.max(4, at[1] + 14 + box.height > height ? at[1] - box.height - 14 : at[1] + 14)}px`;
  }

  function place(feature) {
    const cell = flows ? grid().destinations[feature] : feature;
    return map.getViewports()[0].project(grid().centre(cell));
  }

  function featureOf({ object, index, layer, picked }) {
    if (!picked || index < 0 || !layer) return null;
    return flows ? object : index;
  }

  function hover(info) {
    const feature = featureOf(info);
    if (feature !== null && feature !== undefined) describe(feature, info.x, info.y);
    else if (state.chosen !== null) describe(state.chosen);
    else $("tooltip").hidden = true;
  }

  function choose(feature, fly) {
    state.chosen = feature;
    draw();
    if (feature === null) {
      $("tooltip").hidden = true;
      return;
    }
    if (fly) look({ longitude: grid().centre(flows ? grid().destinations[feature] : feature)[0], latitude: grid().centre(flows ? grid().destinations[feature] : feature)[1] });
    describe(feature);
  }

  // ---- where the reader looks ----

  let view = null;

  function look(changes) {
    view = { ...view, ...changes, transitionDuration: 0 };
    map.setProps({ viewState: view });
    if (far !== grid().packed.metres / metresPerPixel() < 4) draw();
    graticule();
  }

  const home = () => grid().packed.places[state.place].box;

  function goTo(place) {
    state.place = place;
    look(fitted(home()));
  }

  /** The places of the resolution that was chosen. */
  function whereTo() {
    const percent = (share) => (share < 0.01 ? "below 1 %" : `${Math.round(100 * share)} %`);
    const { places } = grid().packed;
    state.place = Math.min(state.place, places.length - 1);
    options("place", places.map(({ name, share }, index) => [index, `${percent(share)}: ${name}`]), state.place);
  }

  function fitted([west, south, east, north]) {
    const { width, height } = $("map").getBoundingClientRect();
    const lat = (value) => Math.max(-84, Math.min(84, value));
    const padding = Math.min(40, width / 8, height / 8);
    const fit = new deck.WebMercatorViewport({ width: Math.max(width, 100), height: Math.max(height, 100) }).fitBounds(
      [[west, lat(south)], [east, lat(north)]],
      { padding, maxZoom: 15, minExtent: 0.002 },
    );
    return { longitude: ((fit.longitude + 540) % 360) - 180, latitude: fit.latitude, zoom: Math.max(0, fit.zoom), pitch: 0, bearing: 0 };
  }

  // ---- orientation: degrees and a scale ----

  const SVG = "http://www.w3.org/2000/svg";

  function drawn(tag, attributes, words) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (words) made.textContent = words;
    return made;
  }

  function degrees(value, positive, negative, digits) {
    const wrapped = Math.abs(value) < 1e-9 ? 0 : value;
    return `${Math.abs(wrapped).toFixed(digits)}°${wrapped > 0 ? positive : wrapped < 0 ? negative : ""}`;
  }

  function graticule() {
    if (!map) return;
    const { width, height } = $("map").getBoundingClientRect();
    if (!width || !height) return;
    const viewport = new deck.WebMercatorViewport({ ...view, width, height });
    const [west, north] = viewport.unproject([0, 0]);
    const [east, south] = viewport.unproject([width, height]);
    const steps = [30, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];
    const wanted = ((east - west) * 110) / width;
    const step = [...steps].reverse().find((candidate) => candidate >= wanted) ?? 30;
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const lines = [];
    const words = [];
    for (let i = Math.ceil(west / step); i * step <= east; i++) {
      const [x] = viewport.project([i * step, view.latitude]);
      lines.push(drawn("line", { x1: x, x2: x, y1: 0, y2: height }));
      const lng = ((((i * step + 180) % 360) + 360) % 360) - 180;
      if (x > 50 && x < width - 40) words.push(drawn("text", { x: x + 3, y: height - 5 }, degrees(lng, "E", "W", digits)));
    }
    for (let i = Math.ceil(Math.max(-85, south) / step); i * step <= Math.min(85, north); i++) {
      const [, y] = viewport.project([view.longitude, i * step]);
      lines.push(drawn("line", { x1: 0, x2: width, y1: y, y2: y }));
      if (y > 14 && y < height - 20) words.push(drawn("text", { x: 4, y: y - 3 }, degrees(i * step, "N", "S", digits)));
    }
    $("graticule").replaceChildren(...lines);
    $("degrees").replaceChildren(...words);
    const metres = metresPerPixel();
    const limit = metres * Math.min(140, width / 3);
    const power = 10 ** Math.floor(Math.log10(limit));
    const length = [5, 2, 1].map((digit) => digit * power).find((candidate) => candidate <= limit);
    $("scale").style.width = `${length / metres}px`;
    $("scale").firstElementChild.textContent = length >= 1000 ? `${whole.format(length / 1000)} km` : `${length} m`;
  }

  // ---- controls ----

  function options(id, entries, chosen) {
    const made = entries.map(([value, words]) => {
      const option = document.createElement("option");
      option.value = value;
      option.textContent = words;
      return option;
    });
    $(id).replaceChildren(...made);
    $(id).value = chosen;
    $(`${id}-control`).hidden = entries.length < 2;
  }

  function setHour(hour) {
    state.hour = hour;
    $("all-hours").checked = hour === null;
    if (hour !== null) $("hour").value = hour;
    show();
  }

  let playing = null;

  function play(on) {
    clearInterval(playing);
    playing = on ? setInterval(() => setHour((Number($("hour").value) + 1) % 168), 700) : null;
    if (on && state.hour === null) setHour(Number($("hour").value));
    $("play").setAttribute("aria-pressed", String(on));
    $("play").setAttribute("aria-label", on ? "Stop" : "Play the hours");
    text("play", on ? "❚❚" : "▶");
  }

  function themed(dark) {
    state.dark = dark;
    root.dataset.theme = dark ? "dark" : "light";
    $("theme").setAttribute("aria-pressed", String(dark));
    text("theme", dark ? "Light" : "Dark");
    $("theme").setAttribute("aria-label", dark ? "Use light colours" : "Use dark colours");
    if (grids.length) show();
  }

  function wire() {
    $("controls").addEventListener("submit", (event) => event.preventDefault());
    options("measure", spec.measures.map(({ label }, index) => [index, label]), state.measure);
    options("resolution", spec.grids.map(({ words }, index) => [index, words]), state.grid);
    whereTo();
    $("place").addEventListener("change", (event) => goTo(Number(event.target.value)));
    const tops = TOPS.filter((top) => top < Math.max(...spec.grids.map(({ shown }) => shown)));
    options("top", flows ? [...tops.map((top) => [top, `the largest ${whole.format(top)}`]), [1e9, "all"]] : [], Math.min(state.top, tops.length ? state.top : 1e9));
    if (flows && !tops.includes(state.top)) $("top").value = state.top = 1e9;
    $("hours").hidden = !spec.hours;
    if (spec.hours) $("hour").value = grid().fullestHour();
    $("measure").addEventListener("change", (event) => {
      state.measure = Number(event.target.value);
      show();
    });
    $("resolution").addEventListener("change", (event) => {
      choose(null);
      state.grid = Number(event.target.value);
      whereTo();
      show();
    });
    $("top").addEventListener("change", (event) => {
      state.top = Number(event.target.value);
      show();
    });
    $("all-hours").addEventListener("change", (event) => {
      play(false);
      setHour(event.target.checked ? null : Number($("hour").value));
    });
    $("hour").addEventListener("input", (event) => {
      play(false);
      setHour(Number(event.target.value));
    });
    $("play").addEventListener("click", () => play(playing === null));
    $("largest").addEventListener("toggle", table);
    $("closer").addEventListener("click", () => look({ zoom: Math.min(17, view.zoom + 1) }));
    $("farther").addEventListener("click", () => look({ zoom: Math.max(0, view.zoom - 1) }));
    $("home").addEventListener("click", () => look(fitted(home())));
    $("everything").addEventListener("click", () => look(fitted(grid().packed.bounds)));
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && grids.length) choose(null);
    });
  }

  // ---- begin ----

  themed(state.dark);
  $("theme").addEventListener("click", () => themed(!state.dark));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => themed(event.matches));

  if (!spec.grids.length) {
    for (const id of ["controls", "legend", "largest", "buttons", "scale"]) $(id).hidden = true;
    text("message", "The result has no rows: there is nothing to show.");
    root.dataset.state = "empty";
    return;
  }

  try {
    const script = document.createElement("script");
    script.textContent = new TextDecoder().decode(await unpacked("library"));
    document.head.append(script);
    $("library").remove();
    numbers = await unpacked("numbers");
    $("numbers").remove();
  } catch (error) {
    fail(`This browser is too old for the map: ${error.message}`);
    return;
  }
  grids.push(...spec.grids.map((packed) => new Grid(packed)));
  wire();
  view = fitted(home());

  let first = true;
  map = new deck.Deck({
    parent: $("canvas"),
    views: new deck.MapView({ repeat: true }),
    viewState: view,
    controller: { dragRotate: false, touchRotate: false, keyboard: { rotateSpeedX: 0, rotateSpeedY: 0 }, inertia: false },
    onViewStateChange: ({ viewState }) => look({ ...viewState, pitch: 0, bearing: 0 }),
    onHover: hover,
    onClick: (info) => {
      const feature = featureOf(info);
      choose(feature ?? null);
    },
    getCursor: ({ isDragging, isHovering }) => (isDragging ? "grabbing" : isHovering ? "pointer" : "grab"),
    pickingRadius: flows ? 5 : 0,
    layers: [],
    onError: (error) => fail(`The map cannot be drawn: ${error.message}. It needs WebGL 2; the table below has the numbers.`),
    onLoad: show,
    onAfterRender: () => {
      if (!first || !map.props.layers.length || !map.props.layers.every((layer) => layer.isLoaded)) return;
      first = false;
      $("message").hidden = true;
      if (root.dataset.state !== "failed") root.dataset.state = "ready";
    },
  });
  new ResizeObserver(graticule).observe($("map"));
  graticule();

  // for whoever drives the page from outside
  globalThis.h3map = {
    look,
    view: () => view,
    /** Pixel in the page of the centre of a cell; of a flow's destination. */
    pixel(id) {
      const index = grid().ids.findIndex((each) => each.toString(16) === id);
      const [x, y] = map.getViewports()[0].project(grid().centre(index));
      const { left, top } = $("map").getBoundingClientRect();
      return [left + x, top + y];
    },
  };
})();
