// The sample page. The address names the sample and the filters whose answer it is one of; all else is asked for.
const $ = (name) => element.querySelector(name);
const shown = new Set(['right amodal', 'left amodal']);
let now = null, wipe = '', asking = 0;
const params = () => new URLSearchParams(location.search);
const picture = (name) => `/data/picture/${now.index}/${encodeURIComponent(name)}`;
const prefix = 'predicted ';

function node(tag, attributes, ...children) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function told(joint, side) {
  const seen = joint.seen === null ? 'visibility not known' : joint.seen ? 'visible' : 'hidden';
  const title = node('title', {});
  title.textContent = `${side} ${joint.name}: ${seen} (${joint.x}, ${joint.y})`;
  return title;
}

function draw() {
  const drawn = $('.drawn'), [h, w] = now.size_hw;
  drawn.replaceChildren();
  drawn.setAttribute('viewBox', `-0.5 -0.5 ${w} ${h}`);
  for (const hand of now.hands) {
    if ($('.boxes').checked) {
      for (const [kind, [x, y, width, height]] of Object.entries(hand.boxes)) {
        drawn.append(node('rect', {x: x - .5, y: y - .5, width, height, fill: 'none', stroke: hand.colour, 'stroke-width': w / 250,
          'stroke-dasharray': kind === 'visible' ? w / 60 : 'none'}));
      }
    }
    if (!$('.joints').checked) continue;
    for (const [a, b] of now.bones.map((bone) => bone.map((k) => hand.joints[k]))) {
      if (a.known && b.known) {
        drawn.append(node('line', {x1: a.x, y1: a.y, x2: b.x, y2: b.y, stroke: b.colour, 'stroke-width': w / 220}));
      }
    }
    for (const joint of hand.joints.filter((one) => one.known)) {
      drawn.append(node('circle', {cx: joint.x, cy: joint.y, r: w / (joint.seen === null ? 150 : 100), stroke: joint.colour,
        'stroke-width': w / 280, fill: joint.seen === false ? '#000' : joint.colour}, told(joint, hand.side)));
    }
  }
}

function overlay() {
  const opacity = $('.opacity').value / 100;
  $('.overlays').replaceChildren(...Object.keys(now.masks).filter((name) => shown.has(name)).map((name) => {
    const image = new Image();
    image.src = picture(name);
    image.alt = name;
    image.style.opacity = opacity;
    return image;
  }));
}

function slide() {
  const on = wipe !== '' && [...now.pictures, ...now.predicted].includes(wipe), at = $('.slider').value;
  $('.beside').hidden = $('.cut').hidden = !on;
  $('.slider').disabled = !on;
  $('.legend').hidden = !(on && wipe.startsWith(prefix) && !wipe.endsWith('alone'));
  if (!on) return;
  if (!$('.beside').src.endsWith(picture(wipe))) $('.beside').src = picture(wipe);
  $('.beside').alt = wipe;
  $('.beside').style.clipPath = `inset(0 0 0 ${at}%)`;
  $('.cut').style.left = `${at}%`;
}

function choices() {
  const box = $('.masks'), legend = box.querySelector('legend');
  box.replaceChildren(legend, ...Object.entries(now.masks).map(([name, colour]) => {
    const label = document.createElement('label'), tick = document.createElement('input'), dot = document.createElement('i');
    tick.type = 'checkbox';
    tick.checked = shown.has(name);
    dot.style.background = colour;
    tick.onchange = () => { tick.checked ? shown.add(name) : shown.delete(name); overlay(); };
    label.append(tick, dot, name);
    return label;
  }));
  const names = [...now.pictures, ...now.predicted];
  $('.which').replaceChildren(new Option('nothing', ''), ...names.map((name) => new Option(name, name)));
  $('.which').value = names.includes(wipe) ? wipe : '';
}

function complaints() {
  const all = [...new Set([...(now.broken ?? []), ...now.problems])];  // a check finds broken invariants too
  $('.problems').hidden = !all.length;
  const list = document.createElement('ul');
  list.append(...all.map((text) => { const item = document.createElement('li'); item.textContent = text; return item; }));
  $('.problems').replaceChildren(all.length === 1 ? 'Something is wrong here:' : 'Things are wrong here:', list);
}

function flags(flag) {
  $('.flagged').hidden = $('.unflag').hidden = flag === null;
  $('.flagged').textContent = flag === null ? '' : `Flagged as bad: ${flag}`;
  $('.flag').textContent = flag === null ? 'Flag as bad' : 'Change the reason';
}

function space() {
  const details = $('.hands');
  details.querySelector('iframe')?.remove();
  details.hidden = !now.posed;
  if (!now.posed || !details.open) return;
  const frame = document.createElement('iframe');
  frame.title = 'The hands in space; drag to turn, wheel to zoom';
  frame.src = `/data/hands/${now.index}`;
  details.append(frame);
}

function rows() {
  $('.fields').replaceChildren(...now.fields.map((field) => {
    const row = document.createElement('tr');
    row.append(...[['span', field.name], ['pre', field.value], ['span', field.about]].map(([tag, text]) => {
      const cell = document.createElement('td'), inner = document.createElement(tag);
      inner.textContent = text;
      cell.append(inner);
      return cell;
    }));
    return row;
  }));
}

function navigation(back) {
  document.title = `sample ${now.index}`;
  $('.place').textContent = now.place ? `#${now.index}, ${now.place.toLocaleString('en')} of ${now.total.toLocaleString('en')}` : `#${now.index}`;
  $('.previous').disabled = now.previous == null;
  $('.next').disabled = now.next == null;
  $('.gallery').href = '/?' + back;
  $('.self').href = `/sample?index=${now.index}`;
}

function show(answer, back) {
  now = answer;
  const bad = answer.error;
  $('.error').hidden = !bad;
  $('.error').textContent = bad ?? '';
  $('.two').hidden = $('.scroll').hidden = $('.png').hidden = $('.npz').hidden = !!bad;
  navigation(back);
  $('.title').textContent = answer.title ?? '';
  complaints();
  if (bad) return;
  $('.frame').style.aspectRatio = `${now.size_hw[1]} / ${now.size_hw[0]}`;
  $('.base').src = picture('image');
  $('.png').href = picture('image');
  $('.png').download = `sample-${now.index}.png`;
  $('.npz').href = `/data/archive/${now.index}.npz`;
  $('.command').textContent = now.command;
  $('.reason').value = '';
  flags(now.flag);
  rows(); choices(); overlay(); slide(); draw(); space();
}

async function asked(address, options) {
  let reply, answer;
  try {
    reply = await fetch(address, options);
    answer = await reply.json();
  } catch (error) {
    return {error: 'The viewer does not answer. Is `aih view` still running?'};
  }
  return answer.detail ? {error: 'This address names no sample.'} : answer;
}

async function load(index, push) {
  const here = params();
  here.set('index', index);
  if (push) history.pushState(null, '', location.pathname + '?' + here);
  here.delete('index');
  const mine = ++asking, answer = await asked(`/data/sample/${encodeURIComponent(index)}?` + here);
  if (mine === asking) show({index, problems: [], place: null, ...answer}, here);
}

async function mark(method, body) {
  const answer = await asked(`/data/flag/${now.index}`,
    {method, body, headers: body ? {'Content-Type': 'application/json'} : {}});
  $('.error').hidden = !answer.error;
  $('.error').textContent = answer.error ?? '';
  if (answer.error) return;
  $('.reason').value = '';
  flags(answer.flag);
}

$('.previous').onclick = () => { if (now?.previous != null) load(now.previous, true); };
$('.next').onclick = () => { if (now?.next != null) load(now.next, true); };
$('.opacity').oninput = overlay;
$('.joints').onchange = draw;
$('.boxes').onchange = draw;
$('.slider').oninput = slide;
$('.which').onchange = (event) => { wipe = event.target.value; event.target.blur(); slide(); };
// What was moved by the mouse gives the arrow keys back.
for (const range of element.querySelectorAll('input[type=range]')) range.addEventListener('pointerup', () => range.blur());
$('.hands').ontoggle = space;
$('.flagging').onsubmit = (event) => { event.preventDefault(); mark('PUT', JSON.stringify({reason: $('.reason').value})); };
$('.unflag').onclick = () => mark('DELETE');
document.addEventListener('keydown', (event) => {
  const writing = event.target.matches('input:not([type=checkbox]), textarea, select');
  if (!element.isConnected || writing || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === 'ArrowLeft') $('.previous').click();
  if (event.key === 'ArrowRight') $('.next').click();
});
window.addEventListener('popstate', () => load(params().get('index') ?? '', false));
load(params().get('index') ?? '', false);
