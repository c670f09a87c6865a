'use strict';
const slides = [...document.querySelectorAll('section')];
let place = Math.min(Math.max((parseInt(location.hash.slice(1), 10) || 1) - 1, 0), slides.length - 1);
function draw(slide) {
  const box = slide.querySelector('.plot');
  if (!box || box.dataset.drawn) return;
  box.dataset.drawn = '1';
  const figure = JSON.parse(slide.querySelector('script').textContent);
  // Drawn at a notebook's width, then enlarged: the last row has to read it.
  const inner = box.appendChild(document.createElement('div'));
  inner.style.width = '900px';
  Plotly.newPlot(inner, figure.data, { ...figure.layout, autosize: true }, { displaylogo: false, displayModeBar: false }).then(() => {
    inner.style.zoom = Math.min(box.clientWidth / 900, box.clientHeight / Math.max(inner.offsetHeight, 1));
  });
}
function show(next) {
  place = Math.min(Math.max(next, 0), slides.length - 1);
  slides.forEach((slide, number) => slide.classList.toggle('shown', number === place));
  const shown = document.getElementById('place');
  shown.textContent = `${place + 1} ${shown.dataset.of} ${slides.length}`;
  history.replaceState(null, '', `#${place + 1}`);
  draw(slides[place]);
}
document.addEventListener('keydown', (event) => {
  if (['ArrowRight', 'PageDown', ' ', 'Enter'].includes(event.key)) { event.preventDefault(); show(place + 1); }
  if (['ArrowLeft', 'PageUp', 'Backspace'].includes(event.key)) { event.preventDefault(); show(place - 1); }
  if (event.key === 'Home') show(0);
  if (event.key === 'End') show(slides.length - 1);
});
document.addEventListener('click', (event) => { if (!event.target.closest('.plot')) show(place + 1); });
window.addEventListener('beforeprint', () => slides.forEach(draw));
show(place);
