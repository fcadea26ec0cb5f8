// Layers over the slide: a canvas that follows OpenSeadragon's viewport. Colours of tiles are one picture, a pixel a tile.

import { extremes, scaleOf } from "./colours.js";

const OUTLINE = [["#ffffffb0", 4], ["#1c2430", 1.75]], GRID = "#1c243066", GRID_PX = 5; // tiles smaller than this on the screen are drawn without lines

export class Layers {
  constructor(viewer) {
    this.viewer = viewer;
    this.canvas = document.createElement("canvas");
    this.canvas.className = "values";
    viewer.canvas.append(this.canvas);
    this.opacity = 0.6;
    this.hidden = false;
    this.shown = { values: null, outline: false, grid: false };
    this.clear();
    for (const event of ["update-viewport", "resize", "open"]) viewer.addHandler(event, () => this.draw());
  }

  clear() {
    this.tiles = this.outline = this.picture = this.plain = this.scale = this.marked = null;
    this.draw();
  }

  // tiles: {side, x, y, values}; outline: rings of [x, y]; level-0 pixels
  load(tiles, outline) {
    this.clear();
    this.tiles = tiles;
    this.places = new Map();
    if (tiles) {
      [this.left] = extremes(tiles.x);
      [this.top] = extremes(tiles.y);
      tiles.x.forEach((x, k) => this.places.set(this.place(x, tiles.y[k]), k));
    }
    if (outline) {
      this.outline = new Path2D();
      for (const ring of outline) { ring.forEach(([x, y], k) => (k ? this.outline.lineTo(x, y) : this.outline.moveTo(x, y))); this.outline.closePath(); }
    }
  }

  // the tile with its corner at a position: column and row from the first
  place(x, y) {
    return `${Math.round((x - this.left) / this.tiles.side)},${Math.round((y - this.top) / this.tiles.side)}`;
  }

  // the number of the tile at a position, or undefined
  tileAt(x, y) {
    return this.tiles ? this.places.get(this.place(x - this.tiles.side / 2, y - this.tiles.side / 2)) : undefined;
  }

  // name: of the values to colour tiles by, or null; view: with the classes and the unit of contributions
  colour(name, view) {
    this.shown.values = name && this.tiles?.values[name] ? name : null;
    this.picture = this.scale = null;
    if (this.shown.values) {
      const values = this.tiles.values[name];
      this.scale = scaleOf(name, this.tiles.values, view);
      this.picture = this.paint((k) => this.scale.colour(values[k]));
    }
    this.draw();
  }

  paint(colour) {
    const { x, y, side } = this.tiles;
    const columns = x.map((one) => Math.round((one - this.left) / side)), rows = y.map((one) => Math.round((one - this.top) / side));
    const picture = document.createElement("canvas");
    picture.width = extremes(columns)[1] + 1;
    picture.height = extremes(rows)[1] + 1;
    const context = picture.getContext("2d"), pixels = context.createImageData(picture.width, picture.height);
    columns.forEach((column, k) => pixels.data.set(colour(k), 4 * (rows[k] * picture.width + column)));
    context.putImageData(pixels, 0, 0);
    return picture;
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.viewer.canvas, ratio = window.devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio); this.canvas.height = Math.round(height * ratio);
    }
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const image = this.viewer.world.getItemAt(0);
    if (!image) return;
    const corner = image.imageToViewerElementCoordinates(new OpenSeadragon.Point(0, 0));
    const far = image.imageToViewerElementCoordinates(new OpenSeadragon.Point(1000, 0));
    const zoom = ((far.x - corner.x) / 1000) * ratio; // screen pixels per level-0 pixel
    context.setTransform(zoom, 0, 0, zoom, corner.x * ratio, corner.y * ratio);
    if (!this.hidden && this.tiles) this.drawTiles(context, zoom, width * ratio, height * ratio);
    if (!this.hidden && this.outline && this.shown.outline) {
      for (const [colour, width] of OUTLINE) {
        context.lineWidth = (width * ratio) / zoom;
        context.strokeStyle = colour;
        context.stroke(this.outline);
      }
    }
    if (this.marked !== null && this.tiles) {
      context.lineWidth = (3 * ratio) / zoom; context.strokeStyle = "#1d6ff2";
      context.strokeRect(this.tiles.x[this.marked], this.tiles.y[this.marked], this.tiles.side, this.tiles.side);
    }
  }

  drawTiles(context, zoom, width, height) {
    const { x, y, side } = this.tiles;
    if (this.picture) {
      context.globalAlpha = this.opacity; context.imageSmoothingEnabled = false;
      context.drawImage(this.picture, this.left, this.top, this.picture.width * side, this.picture.height * side);
      context.globalAlpha = 1;
    }
    if (!this.shown.grid) return;
    if (side * zoom < GRID_PX) {
      this.plain ??= this.paint(() => [28, 36, 48, 255]);
      context.globalAlpha = 0.25; context.imageSmoothingEnabled = false;
      context.drawImage(this.plain, this.left, this.top, this.plain.width * side, this.plain.height * side);
      context.globalAlpha = 1;
      return;
    }
    const view = context.getTransform(), left = -view.e / zoom - side, top = -view.f / zoom - side;
    const right = left + width / zoom + 2 * side, bottom = top + height / zoom + 2 * side;
    context.beginPath();
    for (let k = 0; k < x.length; k++) {
      if (x[k] > left && x[k] < right && y[k] > top && y[k] < bottom) context.rect(x[k], y[k], side, side);
    }
    context.lineWidth = 1 / zoom; context.strokeStyle = GRID;
    context.stroke();
  }
}
