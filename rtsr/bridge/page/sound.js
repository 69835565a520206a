// What a stream sounds like, to see: a running spectrogram and a level.

const HIGHEST_HZ = 10000;
const MARKS_HZ = [2000, 4000, 8000];
const FLOOR_DB = -100;
const CEILING_DB = -25;
const COLUMN_MS = 50; // time that one column of the picture stands for, however often it is drawn
const FALL_DB = 2; // of a level, per column

/** From silence to loud: night blue, teal, yellow, white. */
const COLOURS = Array.from({ length: 256 }, (_, value) => {
  const t = value / 255;
  return [Math.round(255 * t ** 1.6), Math.round(235 * t ** 0.9), Math.round(40 + 110 * Math.sin(Math.PI * t)), 255];
});

export class View {
  constructor(context, stream, canvas, meter) {
    this.canvas = canvas;
    this.meter = meter;
    this.pen = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    this.source = context.createMediaStreamSource(stream);
    this.analyser = new AnalyserNode(context, { fftSize: 2048, smoothingTimeConstant: 0 });
    this.source.connect(this.analyser);
    this.bins = new Float32Array(this.analyser.frequencyBinCount);
    this.samples = new Float32Array(this.analyser.fftSize);
    this.rows = Array.from({ length: canvas.height }, (_, y) =>
      Math.round((((canvas.height - 1 - y) / canvas.height) * HIGHEST_HZ * this.analyser.fftSize) / context.sampleRate),
    );
    this.column = this.pen.createImageData(1, canvas.height);
    this.level = -60;
    this.pen.fillStyle = "#000028";
    this.pen.fillRect(0, 0, canvas.width, canvas.height);
    this.drawn_ms = performance.now();
    this.timer = setInterval(() => this.draw(), COLUMN_MS);
  }

  draw() {
    const { width } = this.canvas;
    const columns = Math.min(width, Math.floor((performance.now() - this.drawn_ms) / COLUMN_MS));
    if (columns < 1) return;
    this.drawn_ms += columns * COLUMN_MS;
    this.analyser.getFloatFrequencyData(this.bins);
    this.analyser.getFloatTimeDomainData(this.samples);
    this.rows.forEach((bin, y) => {
      const share = (this.bins[bin] - FLOOR_DB) / (CEILING_DB - FLOOR_DB);
      this.column.data.set(COLOURS[Math.max(0, Math.min(255, Math.round(255 * share) || 0))], 4 * y);
    });
    this.pen.drawImage(this.canvas, -columns, 0);
    for (let x = width - columns; x < width; x++) this.pen.putImageData(this.column, x, 0);
    this.mark();
    const loudest = this.samples.reduce((most, x) => Math.max(most, Math.abs(x)), 1e-5);
    this.level = Math.max(20 * Math.log10(loudest), this.level - FALL_DB * columns);
    this.meter.value = this.level;
  }

  /** A scale that does not run along: it is drawn over each new picture. */
  mark() {
    const { height } = this.canvas;
    this.pen.font = "11px system-ui, sans-serif";
    for (const hz of MARKS_HZ) {
      const y = height - (hz / HIGHEST_HZ) * height;
      this.pen.fillStyle = "#050a12";
      this.pen.fillRect(0, y - 7, 38, 14);
      this.pen.fillStyle = "#9fb0c0";
      this.pen.fillText(`${hz / 1000} kHz`, 3, y + 4);
    }
  }

  stop() {
    clearInterval(this.timer);
    this.source.disconnect();
  }
}
