// An extension of JupyterLab as it loads them (a container of module federation), written by hand:
// there is nothing to build. It adds a tile to the launcher and draws the button of lab.terminal().
(function () {
  "use strict";

  const NAME = "kvmlab-terminal";
  const MIME = "application/vnd.kvmlab.terminal+json";
  const COMMAND = "kvmlab:host-terminal";
  const TEXTS = {
    "en": { tile: "Terminal on the host", caption: "Open a shell on the lab's host" },
    "zh-CN": { tile: "宿主机终端", caption: "在实验的宿主机上打开 shell" },
  };
  const ICON =
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="16">' +
    '<g class="jp-icon3" fill="none" stroke="#616161" stroke-width="1.8" stroke-linecap="round">' +
    '<rect x="3" y="4" width="18" height="12" rx="1.5"/><path d="M7 8l2.5 2L7 12M12 12.5h4M8 20h8"/></g></svg>';
  let scope;

  // Return a module that JupyterLab shares with its extensions.
  async function shared(name) {
    const [version] = Object.values(scope[name]);
    return (await version.get())();
  }

  function words() {
    const data = document.getElementById("jupyter-config-data");
    const root = data ? JSON.parse(data.textContent).serverRoot || "" : "";
    return root.split("/").includes("zh-CN") ? TEXTS["zh-CN"] : TEXTS.en;
  }

  // Return what the terminal is to stand beside: what is shown, or a notebook behind the launcher.
  function neighbour(app, isLauncher) {
    const current = app.shell.currentWidget;
    if (current && !isLauncher(current)) {
      return current;
    }
    return [...app.shell.widgets("main")].find((widget) => widget.hasClass("jp-NotebookPanel"));
  }

  // Open a terminal to the right of what is shown, and type `line` at its first prompt.
  async function open(app, line) {
    const isLauncher = (widget) => Boolean(widget.node.querySelector(".jp-Launcher"));
    const current = app.shell.currentWidget;
    const beside = neighbour(app, isLauncher);
    const widget = await app.commands.execute("terminal:create-new");
    // While the terminal covers it: a launcher that is shown again may not go at once.
    if (current && isLauncher(current)) {
      current.dispose();
    }
    if (beside) {
      app.shell.add(widget, "main", { mode: "split-right", ref: beside.id });
    }
    app.shell.activateById(widget.id);
    const session = widget.content.session;
    session.messageReceived.connect(function prompted(_, message) {
      if (message.type === "stdout") {
        session.messageReceived.disconnect(prompted);
        session.send({ type: "stdin", content: [line + "\r"] });
      }
    });
  }

  async function plugins() {
    const { ILauncher } = await shared("@jupyterlab/launcher");
    const { IRenderMimeRegistry } = await shared("@jupyterlab/rendermime");
    const { LabIcon } = await shared("@jupyterlab/ui-components");
    const { Widget } = await shared("@lumino/widgets");

    class Button extends Widget {
      constructor(app) {
        super();
        this._app = app;
        this.addClass("kvmlab-terminal");
      }

      renderModel(model) {
        const { command, label } = model.data[MIME];
        const button = document.createElement("button");
        button.type = "button";
        button.className = "jp-mod-styled";
        button.textContent = label;
        button.addEventListener("click", () => this._app.commands.execute(COMMAND, { command }));
        this.node.replaceChildren(button);
        return Promise.resolve();
      }
    }

    return [
      {
        id: NAME + ":plugin",
        autoStart: true,
        requires: [IRenderMimeRegistry],
        optional: [ILauncher],
        activate: (app, rendermime, launcher) => {
          const { tile, caption } = words();
          app.commands.addCommand(COMMAND, {
            label: tile,
            caption,
            icon: new LabIcon({ name: NAME + ":icon", svgstr: ICON }),
            execute: (args) => open(app, args.command || "kvmlab host ssh"),
          });
          if (launcher) {
            launcher.add({ command: COMMAND, category: "Other", rank: 0 });
          }
          rendermime.addFactory(
            { safe: true, mimeTypes: [MIME], createRenderer: () => new Button(app) },
            0
          );
        },
      },
    ];
  }

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[NAME] = {
    init: async (modules) => {
      scope = modules;
    },
    get: async () => {
      const found = await plugins();
      return () => ({ __esModule: true, default: found });
    },
  };
})();
