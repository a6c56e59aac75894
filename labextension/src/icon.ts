/** A bank card, in the colors of JupyterLab's theme. */

import { LabIcon } from "@jupyterlab/ui-components";

export const creditsIcon = new LabIcon({
  name: "datalayer-stripe:credits",
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill-opacity="0" stroke="#616161" stroke-width="2">
    <rect x="2" y="5" width="20" height="14" rx="2"/>
    <path d="M2 10h20" stroke-width="3"/>
    <path d="M6 15.5h5"/>
  </g>
</svg>`,
});
