// Two line charts over the last minutes, drawn by Chart.js in the page's colours.

const MOST_POINTS = 200;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function line(canvas, names) {
  const chart = new Chart(canvas, {
    type: "line",
    data: { labels: [], datasets: names.map(([label]) => ({ label, data: [], borderWidth: 2, pointRadius: 0, tension: 0.2 })) },
    options: {
      animation: false,
      maintainAspectRatio: false,
      interaction: { intersect: false, mode: "index" },
      scales: { x: { ticks: { maxTicksLimit: 6, maxRotation: 0 } }, y: { beginAtZero: true, ticks: { maxTicksLimit: 6 } } },
      plugins: { legend: { labels: { boxWidth: 12 } } },
    },
  });
  return { chart, names };
}

function dress({ chart, names }) {
  names.forEach(([, name, dash], at) => {
    Object.assign(chart.data.datasets[at], { borderColor: colour(name), backgroundColor: colour(name), borderDash: dash ?? [] });
  });
  for (const axis of Object.values(chart.options.scales)) {
    axis.ticks.color = colour("--quiet");
    axis.grid = { color: colour("--line") };
  }
  chart.options.plugins.legend.labels.color = colour("--text");
  chart.update();
}

export class Charts {
  constructor() {
    const draw = (id, names) => line(document.getElementById(id), names);
    this.throughput = draw("throughput", [["accepted", "--good"], ["rejected", "--bad", [6, 4]]]);
    this.latency = draw("latency", [["P50", "--second"], ["P99", "--warn", [6, 4]]]);
    const both = () => [this.throughput, this.latency].forEach(dress);
    both();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", both);
  }

  add(at, { accepted, rejected, p50, p99 }) {
    const label = new Date(at * 1000).toLocaleTimeString();
    for (const [{ chart }, values] of [[this.throughput, [accepted, rejected]], [this.latency, [p50, p99]]]) {
      chart.data.labels.push(label);
      chart.data.datasets.forEach((set, index) => set.data.push(values[index]));
      if (chart.data.labels.length > MOST_POINTS) {
        chart.data.labels.shift();
        chart.data.datasets.forEach((set) => set.data.shift());
      }
      chart.update();
    }
  }
}
